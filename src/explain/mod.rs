//! What `nnoptc explain` says about each code: one page a code.

/// A page on a code.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The code: `E0301`.
    pub code: &'static str,
    /// Markdown; the first line is the title.
    pub text: &'static str,
}

impl Page {
    /// What it is about.
    pub fn title(&self) -> &'static str {
        let first = self.text.lines().next().unwrap_or("");
        first.trim_start_matches("# ")
    }

    /// The page with its code in the title.
    pub fn markdown(&self) -> String {
        format!("# {}: {}", self.code, self.text.trim_start_matches("# "))
    }
}

macro_rules! pages {
    ($($code:ident)*) => {
        &[$( Page { code: stringify!($code), text: include_str!(concat!(stringify!($code), ".md")) } ),*]
    };
}

/// All pages, in the order of their codes.
#[rustfmt::skip]
pub const PAGES: &[Page] = pages! {
    E0101 E0102 E0103 E0104 E0105 E0106 E0107 E0108 E0109 E0110 E0111 E0112 E0113 E0114 E0115 E0116 E0117 E0118 E0119
    E0120 E0121 E0122 E0123 E0124 E0198 E0199
    E0201 E0202 E0203 E0204 E0205 E0206 E0207 E0208 E0209 E0210 E0211 E0212 E0213 E0214 E0215 E0216 E0217 E0218 E0219
    E0220
    E0301 E0302 E0303 E0304 E0305 E0306 E0307
    E0401 E0402 E0403 E0404 E0405 E0406 E0407 E0408
    W0101 W0102 W0103 W0104 W0105
    W0201 W0202 W0203 W0204
    W0301 W0302 W0303 W0304 W0305 W0306
    W0401 W0402 W0403 W0404 W0405
    W0501 W0502 W0503 W0504
    W0601 W0602 W0603 W0604 W0605 W0606 W0607
};

/// The page on a code, in any case.
pub fn page(code: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.code.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The codes that the sources report, without their tests.
    fn codes_in(folder: &Path, codes: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap_or_default();
            if name.to_string_lossy().contains("tests") {
                continue;
            }
            if path.is_dir() {
                codes_in(&path, codes);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let source = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
                let after = source.split("Code(\"").skip(1).filter_map(|rest| rest.split_once('"'));
                let of_ours = |code: &&str| code.len() == 5 && code[1..].bytes().all(|byte| byte.is_ascii_digit());
                codes.extend(after.map(|(code, _)| code).filter(of_ours).map(str::to_owned));
            }
        }
    }

    #[test]
    fn each_code_has_a_page_and_each_page_a_code() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut codes = BTreeSet::new();
        codes_in(&source, &mut codes);
        let pages: BTreeSet<String> = PAGES.iter().map(|page| page.code.to_owned()).collect();
        let without: Vec<_> = codes.difference(&pages).collect();
        let unused: Vec<_> = pages.difference(&codes).collect();
        assert!(
            without.is_empty() && unused.is_empty(),
            "codes without page {without:?}, pages without code {unused:?}"
        );
        let files = std::fs::read_dir(source.join("explain")).unwrap().count();
        assert_eq!(files, PAGES.len() + 1, "a page is not in the list");
    }

    #[test]
    fn pages_begin_with_a_title() {
        for page in PAGES {
            assert!(page.text.starts_with("# ") && !page.title().ends_with('.'), "{}", page.code);
            assert!(!page.title().starts_with(char::is_lowercase), "{}", page.code);
            assert!(page.markdown().starts_with(&format!("# {}: {}\n", page.code, page.title())), "{}", page.code);
        }
        assert!(PAGES.is_sorted_by_key(|page| page.code));
    }
}
