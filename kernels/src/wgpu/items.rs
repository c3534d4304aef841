//! What of several WGSL texts an entry point needs: their items that it reaches.
//!
//! A file has several entry points, which are bound to different buffers; and what many kernels use stands in a prelude
//! of which each needs little. So a unit's text is the kernel's file with what is not reached blanked out, line numbers
//! kept, followed by what is reached of the other texts. An item of an earlier text hides one of the same name.

use std::collections::{HashMap, HashSet};

/// One item of a text: a function, structure, variable, constant or type.
struct Item<'a> {
    name: &'a str,
    text: &'a str,
    /// The place of its first byte in its text.
    start: usize,
}

/// The text of the entry point and of all that it reaches in `texts`, of which the first is the kernel's own.
pub(crate) fn reachable(texts: &[&str], entry: &str) -> String {
    let parsed: Vec<Vec<Item>> = texts.iter().map(|text| items(text)).collect();
    let mut places: HashMap<&str, (usize, usize)> = HashMap::new();
    for (text, items) in parsed.iter().enumerate() {
        for (place, item) in items.iter().enumerate() {
            places.entry(item.name).or_insert((text, place));
        }
    }
    let mut reached: HashSet<(usize, usize)> = HashSet::new();
    let mut waiting: Vec<&str> = vec![entry];
    while let Some(name) = waiting.pop() {
        let Some(&place) = places.get(name) else { continue };
        if reached.insert(place) {
            waiting.extend(words(parsed[place.0][place.1].text));
        }
    }
    let mut whole = String::new();
    for (text, items) in parsed.iter().enumerate() {
        let kept = items.iter().enumerate().filter(|(place, _)| reached.contains(&(text, *place)));
        if text > 0 {
            kept.for_each(|(_, item)| whole += &format!("{}\n", item.text));
            continue;
        }
        let mut end = 0;
        for (_, item) in kept {
            whole.extend(texts[0][end..item.start].chars().filter(|&c| c == '\n'));
            whole += item.text;
            end = item.start + item.text.len();
        }
        whole.extend(texts[0][end..].chars().filter(|&c| c == '\n'));
        whole.push('\n');
    }
    whole
}

/// The items of a text: each ends with a semicolon outside of brackets, or with the brace that closes its body.
fn items(text: &str) -> Vec<Item<'_>> {
    let (mut items, mut depth, mut start) = (Vec::new(), 0i32, None);
    let mut rest = text.char_indices();
    while let Some((at, c)) = rest.next() {
        if text[at..].starts_with("//") {
            rest.find(|&(_, c)| c == '\n');
            continue;
        }
        if c.is_whitespace() || (c == ';' && start.is_none()) {
            continue;
        }
        let first = *start.get_or_insert(at);
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 && (c == ';' || c == '}') {
            let text = &text[first..at + 1];
            items.push(Item { name: name(text), text, start: first });
            start = None;
        }
    }
    items
}

/// The name that an item declares: the word after its keyword, or after the brackets of `var<storage>`.
fn name(item: &str) -> &str {
    let mut after = false;
    for word in words(item) {
        if after && !matches!(word, "workgroup" | "private" | "uniform" | "storage" | "read" | "read_write") {
            return word;
        }
        after |= matches!(word, "fn" | "struct" | "var" | "const" | "alias" | "override");
    }
    ""
}

/// The identifiers of an item, without those in comments.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_')).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: &str = "// A comment { with a brace.\nstruct P { rows: u32 }\n\n@group(1) @binding(1) var<uniform> p: P;\n\
        fn twice(x: f32) -> f32 { return sum(x, x); } // sum\n@compute @workgroup_size(64)\nfn first() { y[0] = twice(1.0); }\n\
        @compute @workgroup_size(64)\nfn second() { z[0] = f32(p.rows); }\n";
    const PRELUDE: &str = "const ONE: u32 = 1u;\nfn sum(x: f32, y: f32) -> f32 { return x + y; }\nfn twice(x: f32) -> f32 { return x; }\n";

    #[test]
    fn an_entry_brings_what_it_reaches_and_no_more() {
        let text = reachable(&[KERNEL, PRELUDE], "first");
        assert!(
            text.contains("fn first")
                && text.contains("fn twice(x: f32) -> f32 { return sum")
                && text.contains("fn sum")
        );
        assert!(!text.contains("second") && !text.contains("struct P") && !text.contains("ONE"), "{text}");
        assert_eq!(text.matches("fn twice").count(), 1, "the kernel's own hides the prelude's");
        let second = reachable(&[KERNEL, PRELUDE], "second");
        assert!(second.contains("var<uniform> p: P") && second.contains("struct P") && !second.contains("twice"));
    }

    #[test]
    fn lines_keep_their_numbers() {
        let line = |text: &str| text.lines().position(|line| line.contains("fn second")).unwrap();
        assert_eq!(line(&reachable(&[KERNEL, PRELUDE], "second")), line(KERNEL));
    }
}
