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
        return Some(format!("event: {}", cut(line)));
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
    match one_line[..end].rsplit_once(char::is_whitespace) {
        Some((kept, _)) => format!("{kept} […]"),
        None => "[…]".to_owned(),
    }
}

/// The last thing that an agent said in its events, whole; `None` where it printed none, or said nothing.
#[must_use]
pub fn final_message(output: &str) -> Option<String> {
    let (mut message, mut result, mut in_pieces) = (None::<String>, None, false);
    for event in output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if event["type"] == "result"
            && let Some(text) = event["result"].as_str().filter(|text| !text.trim().is_empty())
        {
            result = Some(text.to_owned());
        }
        let Some(text) = said(&event) else {
            in_pieces = false;
            continue;
        };
        let piece = event["delta"] == true;
        match &mut message {
            Some(message) if piece && in_pieces => message.push_str(&text),
            _ if text.trim().is_empty() => continue,
            message => *message = Some(text),
        }
        in_pieces = piece;
    }
    result.or(message).map(|text| text.trim().to_owned())
}

/// What the agent itself says in an event: not its tools, and not whoever speaks to it.
fn said(event: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match event["type"].as_str()? {
        "assistant" => {
            let parts = event["message"]["content"].as_array()?.iter().filter_map(|part| part["text"].as_str());
            Some(parts.collect::<Vec<_>>().join("\n\n")).filter(|text| !text.is_empty())
        }
        "message" if event["role"] == "assistant" => text(&event["content"]),
        "text" => text(&event["part"]["text"]),
        "assistant.message" => text(&event["data"]["content"]),
        "item.completed" if event["item"]["type"] == "agent_message" => text(&event["item"]["text"]),
        _ => None,
    }
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
    fn the_final_message_is_what_the_agent_said_last_whole_and_once() {
        let long = format!("Fixed.\n\n{}end", "word ".repeat(400));
        let text = serde_json::Value::from(long.as_str()).to_string();
        let table = [
            // Each in the form of one of the agents that have profiles.
            format!(
                r#"{{"type":"assistant","message":{{"content":[{{"type":"text","text":{text}}}]}}}}
                {{"type":"user","message":{{"content":[{{"type":"tool_result","content":"1 passed"}}]}}}}
                {{"type":"result","subtype":"success","result":{text}}}"#
            ),
            format!(
                r#"{{"type":"assistant","message":{{"content":[{{"type":"text","text":{text}}}]}}}}
                {{"type":"assistant","message":{{"content":[{{"type":"tool_use","name":"Bash","input":{{"command":"ls"}}}}]}}}}
                {{"type":"result","subtype":"error_max_turns"}}"#
            ),
            format!(
                r#"{{"type":"text","part":{{"text":"Looking."}}}}
                {{"type":"tool_use","part":{{"state":{{"output":"total 5"}}}}}}
                {{"type":"text","part":{{"text":{text}}}}}
                {{"type":"step_finish","part":{{"reason":"stop"}}}}"#
            ),
            format!(
                r#"{{"type":"message","role":"user","content":"the prompt"}}
                {{"type":"message","role":"assistant","content":"Looking.","delta":true}}
                {{"type":"tool_result","output":"total 5"}}
                {{"type":"message","role":"assistant","content":"Fixed.\n","delta":true}}
                {{"type":"message","role":"assistant","content":{},"delta":true}}
                {{"type":"result","status":"success","stats":{{}}}}"#,
                serde_json::Value::from(&long["Fixed.\n".len()..])
            ),
            format!(
                r#"{{"type":"user.message","data":{{"content":"the prompt"}}}}
                {{"type":"assistant.message","data":{{"content":{text}}}}}
                {{"type":"assistant.message","data":{{"content":""}}}}
                {{"type":"tool.execution_complete","data":{{"result":{{"content":"total 5"}}}}}}
                {{"type":"result","exitCode":0}}"#
            ),
            format!(
                r#"of a line that was cut"}}
                {{"type":"item.completed","item":{{"type":"agent_message","text":{text}}}}}
                {{"type":"item.completed","item":{{"type":"command_execution","text":"total 5"}}}}
                {{"type":"turn.completed","usage":{{}}}}"#
            ),
        ];
        for output in table {
            assert_eq!(final_message(&output).as_deref(), Some(long.as_str()), "{output}");
        }
    }

    #[test]
    fn an_output_without_words_of_the_agent_has_no_final_message() {
        for output in ["", "plain text\n", r#"{"type":"system","subtype":"init"}"#, r#"{"result": "ok"}"#, "[1]\n7"] {
            assert_eq!(final_message(output), None, "{output}");
        }
    }

    #[test]
    fn a_broken_or_very_deep_event_is_cut_and_not_lost() {
        let broken = format!("{{\"text\": \"{}", "é".repeat(9_000));
        assert_eq!(readable(&broken).unwrap(), "event: {\"text\": […]");
        assert_eq!(readable(&broken.replace(' ', "")).unwrap(), "event: […]");
        let deep = format!("{}{}", "{\"a\":".repeat(100), "1}".to_owned() + &"}".repeat(99));
        assert_eq!(readable(&deep), None);
    }
}
