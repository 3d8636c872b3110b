use std::fmt::{self, Display, Formatter, Write};

/// Text as it stands in HTML, between tags or in an attribute's quotes.
pub(super) struct Text<T>(pub T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        struct Escaping<'a, 'b>(&'a mut Formatter<'b>);
        impl Write for Escaping<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                for letter in text.chars() {
                    match letter {
                        '&' => self.0.write_str("&amp;")?,
                        '<' => self.0.write_str("&lt;")?,
                        '>' => self.0.write_str("&gt;")?,
                        '"' => self.0.write_str("&quot;")?,
                        '\'' => self.0.write_str("&#39;")?,
                        // What HTML has no place for, not even escaped.
                        letter if is_refused(letter) => self.0.write_char('\u{fffd}')?,
                        letter => self.0.write_char(letter)?,
                    }
                }
                Ok(())
            }
        }
        write!(Escaping(f), "{}", self.0)
    }
}

fn is_refused(letter: char) -> bool {
    let is_control = letter.is_control() && !matches!(letter, '\t' | '\n');
    is_control || matches!(letter as u32, 0xfdd0..=0xfdef) || letter as u32 & 0xfffe == 0xfffe
}

/// JSON as it stands in a script element: nothing in it ends the element, or begins a comment.
pub(super) fn script(value: &serde_json::Value) -> String {
    let mut found = String::new();
    // Of JSON, these letters are in strings only.
    for letter in value.to_string().chars() {
        match letter {
            '<' | '>' | '&' => write!(found, "\\u{:04x}", letter as u32).expect("a string takes all"),
            letter if is_refused(letter) => found.push('\u{fffd}'),
            letter => found.push(letter),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        let text = "</script><b a='\"'>&amp;\u{0}\u{1f}\u{85}\u{fffe}é\n";
        let expected =
            "&lt;/script&gt;&lt;b a=&#39;&quot;&#39;&gt;&amp;amp;\u{fffd}\u{fffd}\u{fffd}\u{fffd}é\n";
        assert_eq!(Text(text).to_string(), expected);
        assert_eq!(Text(1.5).to_string(), "1.5");
    }

    #[test]
    fn json_in_a_script_is_the_same_json() {
        let value = serde_json::json!({ "a</script>": ["<!--<script>", "]]>", "&lt;", "é\u{2028}\n"] });
        let text = script(&value);
        assert!(!text.contains(['<', '>', '&']), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
