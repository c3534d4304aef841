//! One token for each character.

use std::collections::BTreeSet;

use chainrule_tensor::{Error, Result};
use serde::{Deserialize, Serialize};

/// A token for each character of a text, numbered in the order of code points.
///
/// ```
/// use chainrule_nn::text::CharTokenizer;
/// let tokenizer = CharTokenizer::new("hello");
/// assert_eq!(tokenizer.vocab_size(), 4);
/// assert_eq!(tokenizer.encode("hole")?, [1, 3, 2, 0]);
/// assert_eq!(tokenizer.decode(&[1, 3, 2, 0])?, "hole");
/// # Ok::<(), chainrule_tensor::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CharTokenizer {
    /// The characters, sorted: a token is its place.
    chars: Vec<char>,
}

impl CharTokenizer {
    /// The tokenizer of all characters of `text`.
    pub fn new(text: &str) -> CharTokenizer {
        CharTokenizer { chars: text.chars().collect::<BTreeSet<char>>().into_iter().collect() }
    }

    /// How many tokens there are.
    pub fn vocab_size(&self) -> usize {
        self.chars.len()
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// A character that has no token.
    #[track_caller]
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut tokens = Vec::with_capacity(text.len());
        for (at, char) in text.char_indices() {
            match self.chars.binary_search(&char) {
                Ok(token) => tokens.push(token as u32),
                Err(_) => return Err(Error::format(format!("no token for {char:?} at byte {at} of the text"))),
            }
        }
        Ok(tokens)
    }

    /// The text of tokens.
    ///
    /// # Errors
    /// A token that is no character's.
    #[track_caller]
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        let char = |&token: &u32| {
            let unknown = || Error::index("decode", format!("token {token} of a vocabulary of {}", self.chars.len()));
            self.chars.get(token as usize).copied().ok_or_else(unknown)
        };
        tokens.iter().map(char).collect()
    }
}
