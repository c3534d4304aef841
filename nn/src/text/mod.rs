//! Text as tokens.

mod tokenizer;
mod windows;

use std::path::Path;

use chainrule_tensor::{Error, Result};

pub use tokenizer::CharTokenizer;
pub use windows::Windows;

/// The text of a UTF-8 file.
///
/// # Errors
/// A file that cannot be read, or the byte at which it is not UTF-8.
#[track_caller]
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|error| Error::io(format!("reading {}", path.display()), error))?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::format(format!("{}: not UTF-8 text: byte {at} begins no character", path.display()))
    })
}
