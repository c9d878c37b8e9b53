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

/// The name of category `index`, or its number where there are more logits than names.
pub fn name(index: usize) -> String {
    match CATEGORIES.get(index) {
        Some(category) => category.name.to_string(),
        None => index.to_string(),
    }
}

/// The category that `text` means: torchvision's name to the letter, a WordNet id, or an index.
pub fn find(text: &str) -> Option<&'static Category> {
    let by_index = text
        .parse::<usize>()
        .ok()
        .and_then(|index| CATEGORIES.get(index));
    by_index.or_else(|| {
        CATEGORIES
            .iter()
            .find(|c| c.name == text || c.wordnet == text)
    })
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
    use super::{all, find, nearest};

    #[test]
    fn a_category_is_found_by_name_wordnet_id_or_index() {
        assert_eq!(all().len(), 1000);
        for text in ["goldfish", "n01443537", "1", "001"] {
            assert_eq!(find(text).map(|c| c.index), Some(1), "{text}");
        }
        assert_eq!(find("Cardigan").map(|c| c.index), Some(264));
        assert_eq!(find("cardigan").map(|c| c.index), Some(474));
        for text in ["Goldfish", "gold fish", "1000", "-1", ""] {
            assert_eq!(find(text), None, "{text}");
        }
    }

    #[test]
    fn the_nearest_names_are_offered() {
        assert_eq!(nearest("Gold_Fish", 1), ["goldfish"]);
        assert_eq!(nearest("tabby cat", 3)[0], "tabby");
    }
}
