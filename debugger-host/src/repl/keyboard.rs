//! What is typed at a terminal, command by command, in the order in which it was typed. Called by
//! [`super::interactive`].
//!
//! At the prompt the line editor reads. It takes whatever the terminal has, and that may be several
//! lines when they were pasted or typed ahead: a paste that the terminal marks as one comes as one
//! text of many commands, and all else stays with the editor, which gives it line by line. While
//! the debuggee runs there is no prompt: what the editor holds still comes first, then the terminal
//! is read as it is.

use super::complete::Names;
use crate::command::{commands_of, open_braces};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use std::collections::VecDeque;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

/// What was typed.
pub(super) enum Input {
    /// A command. If it is not on the screen behind the prompt yet, it `is_hidden`.
    Command {
        /// As typed.
        text: String,
        /// It came together with others.
        is_hidden: bool,
    },
    /// Nothing yet, or Ctrl+C.
    Nothing,
    /// There is no more.
    End,
}

/// See the module.
pub(super) struct Keyboard {
    editor: Editor<Names, FileHistory>,
    history: Option<PathBuf>,
    /// Commands that came together with one before them.
    waiting: VecDeque<String>,
    /// Where the editor keeps what it took from the terminal, there may be more.
    may_hold_more: bool,
    /// The beginning of a line that has no end yet.
    begun: String,
}

fn history_file() -> Option<PathBuf> {
    let folders = directories::ProjectDirs::from("", "", "standstill")?;
    let folder = folders
        .state_dir()
        .unwrap_or_else(|| folders.data_local_dir());
    std::fs::create_dir_all(folder).ok()?;
    Some(folder.join("history"))
}

/// A terminal without a cursor that moves is read line by line by the editor, which then keeps
/// nothing back.
fn is_dumb() -> bool {
    let name = std::env::var("TERM").unwrap_or_default();
    ["dumb", "cons25", "emacs"].contains(&name.to_ascii_lowercase().as_str())
}

impl Keyboard {
    /// An editor that completes `names`.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub(super) fn new(names: Names) -> Result<Self, ReadlineError> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .auto_add_history(false)
            .build();
        let mut editor: Editor<Names, FileHistory> = Editor::with_config(config)?;
        editor.set_helper(Some(names));
        let history = history_file();
        if let Some(path) = &history {
            // The first time there is none.
            let _ = editor.load_history(path);
        }
        Ok(Self {
            editor,
            history,
            waiting: VecDeque::new(),
            may_hold_more: false,
            begun: String::new(),
        })
    }

    /// The next command, at the prompt.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub(super) fn at_prompt(&mut self, prompt: &str) -> Result<Input, ReadlineError> {
        if let Some(text) = self.next_waiting() {
            return Ok(text);
        }
        let begun = std::mem::take(&mut self.begun);
        match self.editor.readline_with_initial(prompt, (&begun, "")) {
            Ok(text) => {
                self.may_hold_more = !is_dumb();
                Ok(self.taken(&text))
            }
            Err(ReadlineError::Interrupted) => Ok(Input::Nothing),
            Err(ReadlineError::Eof) => Ok(Input::End),
            Err(error) => Err(error),
        }
    }

    /// The next command while the debuggee runs, if one comes within `limit`.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub(super) fn while_running(&mut self, limit: Duration) -> Result<Input, ReadlineError> {
        if let Some(text) = self.next_waiting() {
            return Ok(text);
        }
        if self.may_hold_more {
            if let Some(text) = self.held()? {
                return Ok(self.taken(&text));
            }
            print!("{}", self.begun);
            std::io::stdout().flush()?;
        }
        if !is_typed(limit)? {
            return Ok(Input::Nothing);
        }
        let mut text = std::mem::take(&mut self.begun);
        loop {
            let mut input = std::io::stdin().lock();
            let bytes = input.fill_buf()?;
            let len_bytes = bytes.len();
            if len_bytes == 0 {
                return Ok(Input::End);
            }
            // What came while the editor had the terminal ends its lines with the key's own sign.
            let came = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
            text.push_str(&came.replace('\r', "\n"));
            input.consume(len_bytes);
            if let Some(end) = text.rfind('\n')
                && open_braces(&text) == 0
            {
                self.begun = text.split_off(end + 1);
                return Ok(self.taken(&text));
            }
        }
    }

    /// Throws away what was pasted or typed ahead; how many commands that are.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub(super) fn drop_rest(&mut self) -> Result<usize, ReadlineError> {
        let mut count = self.waiting.len();
        self.waiting.clear();
        self.may_hold_more = !is_dumb();
        while let Some(text) = self.held()? {
            count += commands_of(&text).len();
        }
        Ok(count)
    }

    fn next_waiting(&mut self) -> Option<Input> {
        Some(Input::Command {
            text: self.waiting.pop_front()?,
            is_hidden: true,
        })
    }

    /// The first command of a text; the others wait. An empty line is one of its own, since Enter
    /// alone goes on with a dump.
    fn taken(&mut self, text: &str) -> Input {
        let mut all: VecDeque<String> = commands_of(text).into_iter().map(|it| it.text).collect();
        for command in &all {
            // Without a history one can go on.
            let _ = self.editor.add_history_entry(command.trim_end());
        }
        if let Some(path) = &self.history {
            let _ = self.editor.save_history(path);
        }
        let first = all.pop_front().unwrap_or_default();
        let is_hidden = !all.is_empty();
        self.waiting = all;
        Input::Command {
            text: first,
            is_hidden,
        }
    }

    /// A line that the editor, or the terminal, has already.
    #[cfg(unix)]
    fn held(&mut self) -> Result<Option<String>, ReadlineError> {
        if !self.may_hold_more {
            return Ok(None);
        }
        let begun = std::mem::take(&mut self.begun);
        let read = {
            let _without_waiting = WithoutWaiting::begin()?;
            self.editor.readline_with_initial("", (&begun, ""))
        };
        match read {
            Ok(text) => Ok(Some(text)),
            Err(ReadlineError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                self.may_hold_more = false;
                self.begun = self.editor.helper().map(Names::typed).unwrap_or_default();
                // The editor has begun a new line behind what it took.
                print!("\x1b[A\r\x1b[K");
                std::io::stdout().flush()?;
                Ok(None)
            }
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Windows consoles are read key by key, so nothing is kept.
    #[cfg(not(unix))]
    fn held(&mut self) -> Result<Option<String>, ReadlineError> {
        Ok(None)
    }
}

/// As long as it lives, who reads what the terminal does not have is told so at once.
#[cfg(unix)]
struct WithoutWaiting {
    before: rustix::fs::OFlags,
}

#[cfg(unix)]
impl WithoutWaiting {
    fn begin() -> std::io::Result<Self> {
        let before = rustix::fs::fcntl_getfl(std::io::stdin())?;
        rustix::fs::fcntl_setfl(std::io::stdin(), before | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self { before })
    }
}

#[cfg(unix)]
impl Drop for WithoutWaiting {
    fn drop(&mut self) {
        // What could be set can be set back.
        let _ = rustix::fs::fcntl_setfl(std::io::stdin(), self.before);
    }
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
