//! How names and layouts in a file may differ from the model's.

/// How a file is fitted to a model: names changed, matrices transposed, names that may be absent.
///
/// Rules are applied to the file's names in the order given. A GPT-2 checkpoint of Hugging Face loads with:
///
/// ```
/// use chainrule_nn::LoadOptions;
/// let options = LoadOptions::default()
///     .rename("attn.c_attn.", "attn.in_proj_")
///     .rename("attn.c_proj.", "attn.out_proj.")
///     .transpose("attn.in_proj_weight")
///     .transpose("attn.out_proj.weight")
///     .transpose("mlp.c_fc.weight")
///     .transpose("mlp.c_proj.weight")
///     .allow_unexpected("attn.bias");
/// assert_eq!(options.name("h.0.attn.c_attn.bias"), "h.0.attn.in_proj_bias");
/// ```
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    renames: Vec<(String, String)>,
    transposed: Vec<String>,
    missing: Vec<String>,
    unexpected: Vec<String>,
}

impl LoadOptions {
    /// Replaces a part of each name in the file.
    pub fn rename(mut self, from: &str, to: &str) -> Self {
        self.renames.push((from.into(), to.into()));
        self
    }

    /// Swaps the last two dims of tensors whose new name contains `part`.
    pub fn transpose(mut self, part: &str) -> Self {
        self.transposed.push(part.into());
        self
    }

    /// Leaves a parameter as it is where its name contains `part` and the file lacks it; `""` is every name.
    pub fn allow_missing(mut self, part: &str) -> Self {
        self.missing.push(part.into());
        self
    }

    /// Ignores what the file has, and the model lacks, under a new name that contains `part`; `""` is every name.
    pub fn allow_unexpected(mut self, part: &str) -> Self {
        self.unexpected.push(part.into());
        self
    }

    /// The name in the model of a name in the file.
    pub fn name(&self, name: &str) -> String {
        self.renames.iter().fold(name.to_string(), |name, (from, to)| name.replace(from, to))
    }

    pub(crate) fn is_transposed(&self, name: &str) -> bool {
        contains_one(name, &self.transposed)
    }

    pub(crate) fn may_miss(&self, name: &str) -> bool {
        contains_one(name, &self.missing)
    }

    pub(crate) fn may_ignore(&self, name: &str) -> bool {
        contains_one(name, &self.unexpected)
    }
}

fn contains_one(name: &str, parts: &[String]) -> bool {
    parts.iter().any(|part| name.contains(part.as_str()))
}
