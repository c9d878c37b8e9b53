//! The 1,000 ImageNet categories: torchvision's names in torchvision's order, with their WordNet ids.

use std::sync::LazyLock;

/// One category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Category {
    /// Position among the logits.
    pub index: usize,
    /// WordNet id, `n` and eight digits.
    pub wordnet: &'static str,
    /// torchvision's name; `Cardigan` (264, a dog) and `cardigan` (474) differ in case alone.
    pub name: &'static str,
}

static CATEGORIES: LazyLock<Vec<Category>> = LazyLock::new(|| {
    let lines = include_str!("categories.tsv").lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let (wordnet, name) = line.split_once('\t')?;
            Some(Category {
                index,
                wordnet,
                name,
            })
        })
        .collect()
});

/// All categories by index.
pub fn all() -> &'static [Category] {
    &CATEGORIES
}

/// The index of the category that `text` means by its WordNet id, with or without the name behind it, or by its index.
pub(super) fn by_number(text: &str) -> Option<usize> {
    // Digits alone: Rust would take a sign too.
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let (true, Ok(index)) = (digits, text.parse::<usize>()) {
        return (index < CATEGORIES.len()).then_some(index);
    }
    let id = text.get(..9)?.to_ascii_lowercase();
    let category = CATEGORIES.iter().find(|c| c.wordnet == id)?;
    let letters = |c: char| c.is_alphanumeric();
    let words = |text: &str| -> String {
        text.chars()
            .filter(|c| letters(*c))
            .collect::<String>()
            .to_lowercase()
    };
    // A folder that says one id and another name means neither.
    let name = words(&text[9..]);
    (name.is_empty() || name == words(category.name)).then_some(category.index)
}

/// The names most like `text`, nearest first.
pub fn nearest(text: &str, count: usize) -> Vec<&'static str> {
    let wanted = text.to_lowercase().replace(['_', '-'], " ");
    let mut scored: Vec<(f64, &str)> = CATEGORIES
        .iter()
        .map(|c| {
            (
                strsim::jaro_winkler(&wanted, &c.name.to_lowercase()),
                c.name,
            )
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored
        .into_iter()
        .take(count)
        .map(|(_, name)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_names_are_offered() {
        assert_eq!(nearest("Gold_Fish", 1), ["goldfish"]);
        assert_eq!(nearest("tabby cat", 3)[0], "tabby");
    }
}
