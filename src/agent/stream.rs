//! Makes an agent's event stream readable for people.
//!
//! Invariant: a line that is no JSON object stays as it is; of an event only texts that it holds are shown, cut but
//! never reworded.

use serde_json::Value;

/// Fields whose text tells a person what happens, in the event formats of the agents that have profiles.
const TELLING: [&str; 9] = ["text", "result", "content", "name", "command", "file_path", "path", "message", "error"];
/// How deep an event is looked into.
const DEPTH: usize = 8;
/// Most texts that are shown of one event, and most characters of each.
const MOST_TEXTS: usize = 4;
const MOST_CHARS: usize = 500;

/// What a line of an agent's output says to a person; `None` for an event that says nothing, such as a start or a ping.
#[must_use]
pub fn readable(line: &str) -> Option<String> {
    if !line.trim_start().starts_with('{') {
        return Some(line.to_owned());
    }
    let Ok(event) = serde_json::from_str::<Value>(line) else {
        // Longer than the lines that we read, or not JSON after all.
        return Some(cut(line));
    };
    let kind = ["subtype", "type"].iter().find_map(|key| event.get(key)?.as_str()).unwrap_or("event");
    // A start says nothing yet; what tools gave back is in the agent's own words a moment later, and much shorter.
    if event.get("type").is_some_and(|kind| kind == "user") || kind == "init" {
        return None;
    }
    let mut texts = Vec::new();
    collect(&event, DEPTH, &mut texts);
    (!texts.is_empty()).then(|| format!("{kind}: {}", texts.join(" · ")))
}

fn collect(value: &Value, depth: usize, texts: &mut Vec<String>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, depth, texts)),
        Value::Object(fields) => {
            for (key, field) in fields {
                match field {
                    Value::String(text) if TELLING.contains(&key.as_str()) && !text.trim().is_empty() => {
                        let text = cut(text.trim());
                        if texts.len() < MOST_TEXTS && !texts.contains(&text) {
                            texts.push(text);
                        }
                    }
                    Value::Array(_) | Value::Object(_) => collect(field, depth, texts),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

fn cut(text: &str) -> String {
    let one_line = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    let Some((end, _)) = one_line.char_indices().nth(MOST_CHARS) else { return one_line };
    // Between words: half a secret would not be recognised as one.
    let kept = one_line[..end].rsplit_once(char::is_whitespace).map_or("", |(kept, _)| kept);
    format!("{kept} […]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_lines_stay_as_they_are() {
        assert_eq!(readable("  reading shop/cart.py").as_deref(), Some("  reading shop/cart.py"));
        assert_eq!(readable("").as_deref(), Some(""));
    }

    #[test]
    fn words_and_tools_of_an_agent_are_shown() {
        let table = [
            (
                r#"{"type":"assistant","message":{"content":[{"type":"text","text":"The list is\nempty."}]}}"#,
                "assistant: The list is empty.",
            ),
            (
                r#"{"type":"assistant","message":{"content":[{"type":"tool_use","name":"Bash","input":{"command":"pytest -q"}}]}}"#,
                "assistant: Bash · pytest -q",
            ),
            (r#"{"type":"result","subtype":"success","result":"Fixed."}"#, "success: Fixed."),
            (r#"{"type":"text","part":{"text":"Done"}}"#, "text: Done"),
            (r#"{"type":"message","role":"assistant","content":"Done"}"#, "message: Done"),
        ];
        for (line, shown) in table {
            assert_eq!(readable(line).as_deref(), Some(shown), "{line}");
        }
    }

    #[test]
    fn events_without_words_and_what_tools_gave_back_are_left_out() {
        for line in [
            r#"{"type":"system","subtype":"init","tools":["Bash"],"plugins":[{"name":"x"}]}"#,
            r#"{"type":"user","message":{"content":[{"type":"tool_result","content":"1000 lines"}]}}"#,
            "{}",
        ] {
            assert_eq!(readable(line), None, "{line}");
        }
    }

    #[test]
    fn a_broken_or_very_deep_event_is_cut_and_not_lost() {
        let broken = format!("{{\"text\": \"{}", "é".repeat(9_000));
        assert!(readable(&broken).unwrap().ends_with("[…]"));
        let deep = format!("{}{}", "{\"a\":".repeat(100), "1}".to_owned() + &"}".repeat(99));
        assert_eq!(readable(&deep), None);
    }
}
