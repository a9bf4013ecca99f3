//! Where everything is printed. Made by `main`; commands report to it what they find out.

use super::{json, text};
use crate::answer::{Answer, Form, Message, News, Report, Response};
use crate::command::Listener;
use std::cell::RefCell;
use std::fmt::Display;
use std::io::Write;
use std::rc::Rc;

/// Where output goes.
pub struct Output {
    to: Box<dyn Write + Send>,
    /// Somebody sees it on a screen, which can be cleared.
    is_screen: bool,
    /// The last line has no end yet.
    is_line_open: bool,
}

impl Output {
    /// Prints to `to`.
    pub fn new(to: impl Write + Send + 'static, is_screen: bool) -> Self {
        Self {
            to: Box::new(to),
            is_screen,
            is_line_open: false,
        }
    }

    /// Prints one line, or several.
    pub fn line(&mut self, text: impl Display) {
        self.end_line();
        // A reader that is gone cannot be told so.
        let _ = writeln!(self.to, "{text}");
        let _ = self.to.flush();
    }

    /// Prints what may end within a line.
    fn raw(&mut self, text: &str) {
        if let Some(last) = text.chars().last() {
            let _ = write!(self.to, "{text}");
            let _ = self.to.flush();
            self.is_line_open = last != '\n';
        }
    }

    /// Ends a line that has no end yet.
    pub fn end_line(&mut self) {
        if std::mem::take(&mut self.is_line_open) {
            let _ = writeln!(self.to);
            let _ = self.to.flush();
        }
    }

    /// Clears the screen, if there is one.
    fn clear(&mut self) {
        if !self.is_screen {
            return;
        }
        let _ = write!(self.to, "\x1b[2J\x1b[H");
        let _ = self.to.flush();
        self.is_line_open = false;
    }

    fn response(&mut self, response: &Response) {
        for warning in &response.warnings {
            self.line(text::warning(warning));
        }
        let said: String = response.messages.iter().map(text::message).collect();
        self.raw(&said);
        match &response.result {
            Ok(Answer::Cleared {}) => self.clear(),
            Ok(answer) => {
                if let Some(text) = text::answer(answer) {
                    self.line(text);
                }
            }
            Err(problem) => self.line(&problem.message),
        }
    }

    fn news(&mut self, news: &[News]) {
        // Many messages come at once.
        let mut said = String::new();
        for news in news {
            match news {
                News::Message { message } => said.push_str(&text::message(message)),
                other => {
                    self.raw(&std::mem::take(&mut said));
                    self.line(text::news(other));
                }
            }
        }
        self.raw(&said);
    }
}

/// An output that commands and the prompt share.
#[derive(Clone)]
pub struct Screen(Rc<RefCell<Output>>);

impl Screen {
    /// Shares an output.
    #[must_use]
    pub fn new(output: Output) -> Self {
        Self(Rc::new(RefCell::new(output)))
    }

    /// Prints one line, or several.
    pub fn line(&self, text: impl Display) {
        self.0.borrow_mut().line(text);
    }

    /// Prints news as a document.
    pub fn news(&self, news: &News) {
        for line in json::lines(&Report::News(std::slice::from_ref(news))) {
            self.line(line);
        }
    }

    /// Ends a line that has no end yet.
    pub fn end_line(&self) {
        self.0.borrow_mut().end_line();
    }
}

impl Listener for Screen {
    fn report(&mut self, report: Report<'_>, form: Form) {
        let mut output = self.0.borrow_mut();
        match (form, report) {
            (Form::Json, report) => {
                for line in json::lines(&report) {
                    output.line(line);
                }
            }
            (Form::Text, Report::Next { core, line }) => {
                let prompt = text::prompt(core, None).unwrap_or_else(|| "> ".to_owned());
                output.line(format!("{prompt}{line}"));
            }
            (Form::Text, Report::Response(response)) => output.response(response),
            (Form::Text, Report::News(news)) => output.news(news),
        }
    }

    fn words(&self, message: &Message) -> String {
        text::message(message)
    }
}
