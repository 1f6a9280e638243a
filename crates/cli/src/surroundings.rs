//! What a command takes from its surroundings: environment, output, the terminal. Tests give their own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};

use cmg_process::secret_file;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcgetwinsize, tcsetattr};

use crate::failure::Failure;

/// The width of what is no terminal: nothing is cut for a file or a pipe.
const UNBOUNDED: usize = usize::MAX;

/// Asks a person for a secret by these words.
pub type Ask = Box<dyn FnMut(&str) -> io::Result<String>>;

/// Opens an address in a browser.
pub type Browse = Box<dyn FnMut(&str) -> io::Result<()>>;

/// The value of an environment variable.
pub type Variable = Box<dyn Fn(&str) -> Option<OsString>>;

/// Where a command runs.
pub struct Surroundings {
    /// The value of an environment variable.
    pub variable: Variable,
    /// Takes data.
    pub out: Box<dyn Write>,
    /// Takes everything else.
    pub err: Box<dyn Write>,
    /// How many letters fit in a line of `out`.
    pub width: usize,
    /// Asks for a password.
    pub ask: Ask,
    /// Opens a browser.
    pub browse: Browse,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self {
            variable: Box::new(|name| std::env::var_os(name)),
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            width: width(),
            ask: Box::new(ask),
            browse: Box::new(browse),
        }
    }

    /// A variable that is set to something.
    pub(crate) fn set(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// Where the session is kept.
    pub(crate) fn session_file(&self) -> Result<PathBuf, Failure> {
        let folder = self.set("XDG_CONFIG_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
        let folder = folder.or_else(|| self.set("HOME").map(|home| Path::new(&home).join(".config")));
        let folder = folder
            .ok_or_else(|| Failure::Failed("neither XDG_CONFIG_HOME nor HOME is set, so there is no place for a session".to_owned()))?;
        Ok(folder.join("cmg/session.json"))
    }

    /// A password: the first line of the file, or what is typed. It never stands on the command line, where others would see it.
    pub(crate) fn password(&mut self, words: &str, file: Option<&Path>) -> Result<String, Failure> {
        if let Some(file) = file {
            return secret_line("--password-file", file);
        }
        self.asked(words)
    }

    /// A new password, which is typed twice.
    pub(crate) fn new_password(&mut self, key: &str, words: &str, file: Option<&Path>) -> Result<String, Failure> {
        if let Some(file) = file {
            return secret_line(key, file);
        }
        let first = self.asked(&format!("New {words}"))?;
        if io::stdin().is_terminal() && self.asked(&format!("New {words} again"))? != first {
            return Err(Failure::Usage("the two are not the same: try again".to_owned()));
        }
        Ok(first)
    }

    fn asked(&mut self, words: &str) -> Result<String, Failure> {
        let typed = (self.ask)(words).map_err(|error| Failure::failed("the password cannot be read", &error))?;
        if typed.is_empty() {
            return Err(Failure::Usage("no password was given: type it, name a file by --password-file, or pipe it in".to_owned()));
        }
        Ok(typed)
    }
}

/// The first line of a file that nobody else can read.
pub(crate) fn secret_line(key: &str, path: &Path) -> Result<String, Failure> {
    let secret = secret_file(key, path)?;
    match secret.expose_line() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Failure::file(key, format!("{} has nothing in its first line", path.display()), "write the secret there")),
    }
}

fn width() -> usize {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return UNBOUNDED;
    }
    match tcgetwinsize(&stdout) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => UNBOUNDED,
    }
}

/// Reads a line from the terminal without showing it, or from standard input where that is no terminal.
fn ask(words: &str) -> io::Result<String> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return line(&mut stdin.lock());
    }
    let mut terminal = File::options().read(true).write(true).open("/dev/tty")?;
    write!(terminal, "{words}: ")?;
    let typed = {
        let _hidden = Hidden::new(&terminal)?;
        typed(&mut BufReader::new(&terminal))
    };
    writeln!(terminal)?;
    typed
}

/// Opens an address in the browser of whoever sits here.
fn browse(url: &str) -> io::Result<()> {
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    let program = match std::env::consts::OS {
        "macos" => "open",
        _ if has_screen => "xdg-open",
        _ => return Err(io::ErrorKind::NotFound.into()),
    };
    let nothing = std::process::Stdio::null;
    std::process::Command::new(program).arg(url).stdin(nothing()).stdout(nothing()).stderr(nothing()).spawn().map(drop)
}

fn line(from: &mut dyn BufRead) -> io::Result<String> {
    let mut text = String::new();
    from.read_line(&mut text)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// What is typed up to the end of the line, by a terminal that gives every key as it is. Whoever gives up with Ctrl-C ends this, not the
/// program, so that the terminal is as it was before.
fn typed(from: &mut impl BufRead) -> io::Result<String> {
    const CTRL_C: u8 = 3;
    const CTRL_D: u8 = 4;
    const CTRL_U: u8 = 21;
    const BACKSPACES: [u8; 2] = [8, 127];

    let mut text = Vec::new();
    let mut key = [0];
    while from.read(&mut key)? > 0 {
        match key[0] {
            b'\r' | b'\n' | CTRL_D => break,
            CTRL_C => return Err(io::Error::new(io::ErrorKind::Interrupted, "given up")),
            CTRL_U => text.clear(),
            byte if BACKSPACES.contains(&byte) => {
                // A character may be several bytes, of which only the first begins one.
                while text.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte => text.push(byte),
        }
    }
    String::from_utf8(text).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no text"))
}

/// While it exists, the terminal does not show what is typed, and gives every key as it is.
struct Hidden<'t> {
    terminal: &'t File,
    before: rustix::termios::Termios,
}

impl<'t> Hidden<'t> {
    fn new(terminal: &'t File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        hidden.special_codes[SpecialCodeIndex::VMIN] = 1;
        hidden.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // There is nobody left to tell where the terminal is gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_ends_with_its_line_and_can_be_mended() {
        for (keys, text) in
            [("word\rmore", "word"), ("wi\u{7f}ord\n", "word"), ("\u{e4}\u{8}a\n", "a"), ("no\u{15}word\n", "word"), ("\u{7f}a\u{4}", "a")]
        {
            assert_eq!(typed(&mut keys.as_bytes()).unwrap(), text, "{keys:?}");
        }
    }

    #[test]
    fn who_gives_up_ends_the_question_and_not_the_program() {
        let given_up = typed(&mut "secr\u{3}et\n".as_bytes()).unwrap_err();

        assert_eq!(given_up.kind(), io::ErrorKind::Interrupted);
    }
}
