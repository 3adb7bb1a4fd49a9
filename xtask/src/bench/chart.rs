//! The results as bars.

use std::fmt::Write as _;

use super::report::{digits, time};
use super::results::{Contender, OURS, Scenario};

const WIDTH: u32 = 760;
/// Where the bars begin; left of it stand the names.
const BARS: f64 = 190.0;
/// How long the longest bar of a scenario is; right of it stand the figures.
const LONGEST: f64 = 400.0;
const ROW: u32 = 22;

/// Returns an SVG image with a bar for each contender, the longest in each scenario equally long.
pub(super) fn draw(results: &[Scenario]) -> String {
    let rows: usize = results.iter().map(|scenario| scenario.contenders.len() + 2).sum();
    let height = u32::try_from(rows).unwrap_or(0) * ROW;
    let mut image = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    let mut y = 0;
    for scenario in results {
        y += ROW;
        let (text, name) = (y - 4, escape(&scenario.name));
        let _ = writeln!(image, r#"<text x="8" y="{text}" font-weight="bold">{name}</text>"#);
        let longest = scenario.contenders.iter().map(|c| c.nanoseconds).fold(0.0, f64::max);
        for contender in &scenario.contenders {
            image.push_str(&bar(contender, y, contender.nanoseconds / longest * LONGEST));
            y += ROW;
        }
        y += ROW;
    }
    image + "</svg>\n"
}

fn bar(contender: &Contender, y: u32, length: f64) -> String {
    let colour = if contender.name == OURS { "#f28e2b" } else { "#a9b8c6" };
    let (name, text, end) = (escape(&contender.name), y + 15, BARS + 6.0 + length);
    let figure = match contender.ratio {
        Some(ratio) if contender.name != OURS => {
            format!("{} · {}×", time(contender.nanoseconds), digits(ratio))
        }
        _ => time(contender.nanoseconds),
    };
    format!(
        "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{name}</text>\
         <rect x=\"{BARS}\" y=\"{}\" width=\"{length:.1}\" height=\"{}\" fill=\"{colour}\"/>\
         <text x=\"{end:.1}\" y=\"{text}\">{figure}</text>\n",
        BARS - 8.0,
        y + 2,
        ROW - 4,
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_bar_of_each_scenario_has_full_length() {
        let contender = |name: &str, nanoseconds| Contender {
            name: name.into(),
            nanoseconds,
            ratio: Some(nanoseconds / 10.0),
        };
        let contenders = vec![contender(OURS, 10.0), contender("a<b", 40.0)];
        let image = draw(&[Scenario { name: "s".into(), contenders }]);
        assert!(image.contains("width=\"400.0\""), "{image}");
        assert!(image.contains("width=\"100.0\""), "{image}");
        assert!(image.contains("a&lt;b") && image.contains("40.0 ns · 4.00×"), "{image}");
        assert!(image.starts_with("<svg ") && image.ends_with("</svg>\n"));
    }
}
