//! Whether the driver is there. It says goodbye when it is unloaded, and greets when it is loaded; a greeting in a session
//! comes from one that knows of none, so the session is over as well. Then it is waited for: the link proposes a session
//! until it is taken.

use super::{News, Session, SessionError, draw_nonce};
use crate::dropped::DropNews;
use crate::timeout::Wait;
use wire_protocol::address::GuestVirtual;
use wire_protocol::link::RateNews;

/// What is said of a debuggee that another host has: for so many seconds, or from now on.
pub(super) fn other_host(seconds: Option<u32>) -> SessionError {
    match seconds {
        Some(seconds) => SessionError::Busy { seconds },
        None => SessionError::TakenOver,
    }
}

impl Session {
    /// The driver was unloaded, and is waited for.
    #[must_use]
    pub const fn driver_is_gone(&self) -> bool {
        self.is_gone
    }

    /// Refuses what needs the driver.
    pub(super) const fn must_have_driver(&self) -> Result<(), SessionError> {
        if !self.is_connected() {
            Err(SessionError::NotConnected)
        } else if self.is_taken {
            Err(SessionError::TakenOver)
        } else if self.is_gone {
            Err(SessionError::DriverGone)
        } else {
            Ok(())
        }
    }

    /// The session is over.
    pub(super) fn lose_driver(&mut self, said_goodbye: bool) {
        self.forget_debuggee();
        self.is_gone = true;
        self.news.push_back(News::DriverGone { said_goodbye });
        if let Ok(link) = self.connected_link() {
            link.connect(draw_nonce(), false);
        }
    }

    /// Another host has the debuggee. It is left to it.
    pub(super) fn lose_to_other_host(&mut self, seconds: Option<u32>) {
        self.forget_debuggee();
        self.is_gone = false;
        self.is_taken = true;
        self.news.push_back(News::OtherHost { seconds });
    }

    /// The next session that is begun takes the debuggee from the host that has it.
    pub const fn take_over(&mut self) {
        self.takes_over = true;
    }

    /// Another host has the debuggee.
    #[must_use]
    pub const fn is_taken_over(&self) -> bool {
        self.is_taken
    }

    /// The link has a session: with a driver that was waited for, or with the one that is being asked.
    pub(super) fn connected(&mut self) {
        if self.is_gone {
            self.news.push_back(News::DriverBack);
        }
    }

    /// Something about the line's rate. While nobody answers, no command ends after which it would be told.
    pub(super) fn hear_of_rate(&mut self, news: RateNews) {
        if self.base.0 == 0 && matches!(news, RateNews::Nowhere { .. }) {
            self.timeout.explain(&Wait::Rate(news));
        } else {
            self.news.push_back(News::Rate(news));
        }
    }

    /// Datagrams changed nothing. While nobody answers, that may be why.
    pub(super) fn hear_of_dropped(&mut self, news: DropNews) {
        if self.base.0 == 0 {
            self.timeout.explain(&Wait::Dropped(news));
        } else {
            self.news.push_back(News::Dropped(news));
        }
    }

    /// What was known of the debuggee holds no longer.
    pub(super) fn forget_debuggee(&mut self) {
        self.base = GuestVirtual(0);
        self.halted = None;
        self.is_in_doubt = false;
        self.network = None;
        self.cache.forget_all();
        self.mirror.forget();
        self.pending.forget();
    }

    /// Asks how the debuggee is, if what it told of a halt could not be read.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn resolve_doubt(&mut self) -> Result<(), SessionError> {
        if self.is_in_doubt {
            return self.introduce();
        }
        Ok(())
    }
}
