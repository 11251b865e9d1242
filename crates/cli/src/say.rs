//! Output that may be cut off: `loligo up | head -1` ends the reader early, which is no error of ours and must stop nothing half way.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::time::Instant;

/// Writes a line; a reader that is gone is no error.
pub fn line_to(out: &mut dyn Write, text: &str) -> io::Result<()> {
    match out.write_all(format!("{text}\n").as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes a line of output. Other errors than a gone reader (a full disk) are the caller's.
pub fn line(text: &str) -> io::Result<()> {
    line_to(&mut io::stdout().lock(), text)
}

/// Says on stderr what happens. That nobody can hear it changes nothing.
pub fn aside(text: &str) {
    let _ = line_to(&mut io::stderr().lock(), text);
}

/// Says what happens, on a terminal; quiet when piped.
pub struct Progress {
    terminal: bool,
    /// When it began.
    pub start: Instant,
}
impl Progress {
    /// From now on.
    pub fn start() -> Progress {
        Progress { terminal: io::stderr().is_terminal(), start: Instant::now() }
    }
    /// One step is done.
    pub fn step(&self, text: &str) {
        if self.terminal {
            aside(&format!("[{:5.2}s] {text}", self.start.elapsed().as_secs_f64()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Failing(ErrorKind);
    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_a_reader_that_is_gone_is_no_error() {
        assert!(line_to(&mut Failing(ErrorKind::BrokenPipe), "x").is_ok());
        assert!(line_to(&mut Failing(ErrorKind::StorageFull), "x").is_err());
    }
}
