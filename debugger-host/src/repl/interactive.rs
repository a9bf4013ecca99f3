//! At a terminal: a prompt while the debuggee is halted; while it runs no prompt, yet lines can
//! be typed and Ctrl+C breaks in. Called by `main`.

use super::complete::Names;
use super::prompt;
use crate::command::{Debugger, open_braces, run_line};
use crate::render::Screen;
use crate::timeout::Interrupts;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between two looks at keyboard and line while the debuggee runs.
const POLL_INTERVAL: Duration = Duration::from_millis(30);

fn history_file() -> Option<PathBuf> {
    let folders = directories::ProjectDirs::from("", "", "standstill")?;
    let folder = folders
        .state_dir()
        .unwrap_or_else(|| folders.data_local_dir());
    std::fs::create_dir_all(folder).ok()?;
    Some(folder.join("history"))
}

/// Runs until `exit` or the end of the input.
///
/// # Errors
/// When the terminal cannot be used.
pub fn run(
    debugger: &mut Debugger,
    interrupts: &Interrupts,
    screen: &Screen,
) -> Result<(), ReadlineError> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .auto_add_history(true)
        .build();
    let mut editor: Editor<Names, FileHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Names {
        kernel: debugger.symbols.kernel().cloned(),
    }));
    let history = history_file();
    if let Some(path) = &history {
        // The first time there is none.
        let _ = editor.load_history(path);
    }
    while !debugger.is_leaving {
        let line = if debugger.session.halt().is_some() {
            screen.end_line();
            match editor.readline(&prompt(debugger)) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => break,
                Err(error) => return Err(error),
            }
        } else {
            match line_while_running(debugger, interrupts)? {
                Input::Line(line) => whole_block(line)?,
                Input::Nothing => continue,
                Input::End => break,
            }
        };
        run_line(debugger, &line);
        if let Some(path) = &history {
            // Losing the history is no reason to stop.
            let _ = editor.save_history(path);
        }
    }
    if !debugger.is_leaving && debugger.session.halt().is_some() {
        run_line(debugger, "exit");
    }
    Ok(())
}

enum Input {
    Line(String),
    /// The debuggee halted, or Ctrl+C was pressed.
    Nothing,
    End,
}

fn line_while_running(debugger: &mut Debugger, interrupts: &Interrupts) -> std::io::Result<Input> {
    let seen = interrupts.load(Ordering::Relaxed);
    loop {
        debugger.show_news();
        if debugger.session.halt().is_some() {
            return Ok(Input::Nothing);
        }
        if interrupts.load(Ordering::Relaxed) != seen {
            run_line(debugger, "pause");
            return Ok(Input::Nothing);
        }
        if is_typed(POLL_INTERVAL)? {
            let mut line = String::new();
            return Ok(match std::io::stdin().read_line(&mut line)? {
                0 => Input::End,
                _ => Input::Line(line.trim_end().to_owned()),
            });
        }
    }
}

/// The line, with those that follow until its braces are closed.
fn whole_block(mut line: String) -> std::io::Result<String> {
    while open_braces(&line) > 0 {
        line.push('\n');
        if std::io::stdin().read_line(&mut line)? == 0 {
            break;
        }
    }
    Ok(line)
}

/// Whether a line can be read without waiting.
#[cfg(unix)]
fn is_typed(limit: Duration) -> std::io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let input = std::io::stdin();
    let mut wanted = [PollFd::new(&input, PollFlags::IN)];
    let limit = Timespec {
        tv_sec: 0,
        tv_nsec: limit.subsec_nanos().into(),
    };
    match poll(&mut wanted, Some(&limit)) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Windows consoles cannot be asked; what is typed is read at the next prompt.
#[cfg(not(unix))]
fn is_typed(limit: Duration) -> std::io::Result<bool> {
    std::thread::sleep(limit);
    Ok(false)
}
