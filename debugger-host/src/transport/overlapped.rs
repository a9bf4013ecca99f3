//! Windows named pipes, of both ends, in overlapped mode: a waiting read does not hold up a write, and both can be given up.
//! Called by [`super::pipe`] and [`super::pipe_server`]. The runtime of each pipe is a thread that ends with it.

use super::{Line, PATIENCE};
use std::future::Future;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeServer, ServerOptions};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// Each instance that a pipe has is in use: `ERROR_PIPE_BUSY` of the System Error Codes.
fn is_busy(why: &Error) -> bool {
    const ERROR_PIPE_BUSY: i32 = 231;
    why.raw_os_error() == Some(ERROR_PIPE_BUSY)
}

/// Opens a pipe that another program serves.
pub(super) fn connect(path: &str) -> Result<Line> {
    let runtime = runtime()?;
    let client = {
        let _entered = runtime.enter();
        ClientOptions::new().open(path)
    };
    let client = client.map_err(|why| match is_busy(&why) {
        true => Error::new(
            ErrorKind::ResourceBusy,
            "another program has it open; close that one",
        ),
        false => why,
    })?;
    Ok(both_ways(runtime, client))
}

/// A pipe that nobody has opened yet.
pub(super) struct Waiting {
    // Ends before what drives it.
    server: NamedPipeServer,
    runtime: Runtime,
}

/// What came of waiting for somebody who opens a pipe.
pub(super) enum Accepted {
    /// Somebody did.
    Line(Line),
    /// Not yet.
    Nobody(Waiting),
}

impl Waiting {
    /// Makes the pipe. Another one can open it only when the one before is gone, so there is no second host's end.
    pub(super) fn create(path: &str) -> Result<Self> {
        let runtime = runtime()?;
        let mut options = ServerOptions::new();
        options.first_pipe_instance(true).max_instances(1);
        let server = {
            let _entered = runtime.enter();
            options.create(path)
        };
        // Windows denies what Wine finds busy.
        let is_served = |why: &Error| why.kind() == ErrorKind::PermissionDenied || is_busy(why);
        let server = server.map_err(|why| match is_served(&why) {
            true => Error::new(
                ErrorKind::AddrInUse,
                format!("another program serves it: {why}"),
            ),
            false => why,
        })?;
        Ok(Self { server, runtime })
    }

    /// Waits a little for somebody who opens it.
    pub(super) fn accept(self) -> Result<Accepted> {
        match within(&self.runtime, self.server.connect()) {
            Ok(()) => Ok(Accepted::Line(both_ways(self.runtime, self.server))),
            Err(why) if why.kind() == ErrorKind::TimedOut => Ok(Accepted::Nobody(self)),
            Err(why) => Err(why),
        }
    }
}

/// A thread that waits for what is under way, and ends with the last who uses it.
fn runtime() -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).thread_name("pipe");
    builder.enable_all().build()
}

/// Gives up after a while; what was under way is taken back.
fn within<T>(runtime: &Runtime, work: impl Future<Output = Result<T>>) -> Result<T> {
    runtime
        .block_on(async { timeout(PATIENCE, work).await })
        .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

fn both_ways<P>(runtime: Runtime, pipe: P) -> Line
where
    P: AsyncRead + AsyncWrite + Send + 'static,
{
    let runtime = Arc::new(runtime);
    let (reader, writer) = tokio::io::split(pipe);
    let reader = Half {
        pipe: reader,
        runtime: Arc::clone(&runtime),
    };
    let writer = Half {
        pipe: writer,
        runtime,
    };
    Line::without_rate(reader, writer)
}

/// One direction.
struct Half<P> {
    // Ends before what drives it.
    pipe: P,
    runtime: Arc<Runtime>,
}

impl<P: AsyncRead + Unpin> Read for Half<P> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        within(&self.runtime, self.pipe.read(bytes))
    }
}

impl<P: AsyncWrite + Unpin> Write for Half<P> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        within(&self.runtime, self.pipe.write(bytes))
    }

    fn flush(&mut self) -> Result<()> {
        within(&self.runtime, self.pipe.flush())
    }
}
