//! Draws a ring before and after a node joins.
//!
//! `cargo run -p carrotcache-consistenthash --example ring_svg > ring.svg`

use std::f64::consts::TAU;

use carrotcache_consistenthash::{Move, Ring, RingError, Scheme};

/// Few enough points that each can be seen; a real ring has at least fifty a node.
const POINTS: u32 = 6;
const COLOURS: [&str; 5] = ["#4e79a7", "#59a14f", "#edc948", "#b07aa1", "#f28e2b"];
const NEWCOMER: &str = "carrot";

fn main() -> Result<(), RingError> {
    let builder = Ring::builder().scheme(Scheme::Balanced).points_per_node(POINTS);
    let empty = builder.clone().build()?;
    let before = builder.nodes(["leek", "pea", "maize", "beet"]).build()?;
    let after = before.with_node(NEWCOMER)?;

    println!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 420" font-family="sans-serif">
<rect width="760" height="420" fill="#fff"/>"##
    );
    draw(&before, "four nodes", 200.0, &empty.diff(&before)?);
    draw(&after, "a fifth joins", 560.0, &empty.diff(&after)?);
    // Everything that moved goes to the newcomer: the outer arcs have one colour.
    for range in before.diff(&after)? {
        arc(560.0, 152.0, 5.0, &range, colour(&after, range.to));
    }
    println!("</svg>");
    Ok(())
}

/// Draws one ring, of which `arcs` are all arcs, with its title and legend.
fn draw(ring: &Ring, title: &str, x: f64, arcs: &[Move<'_>]) {
    println!(r#"<text x="{x}" y="28" text-anchor="middle" font-size="18">{title}</text>"#);
    for range in arcs {
        arc(x, 130.0, 24.0, range, colour(ring, range.to));
    }
    // An arc ends at the point that owns it, except that `diff` cuts the one that crosses 0.
    for range in arcs.iter().filter(|range| range.last != u64::MAX) {
        let (px, py) = on_circle(x, 130.0, range.last);
        println!(r##"<circle cx="{px:.1}" cy="{py:.1}" r="3.5" fill="#222"/>"##);
    }
    for (row, (label, share)) in (0..).zip(ring.shares()) {
        let y = 165.0 + 24.0 * f64::from(row);
        let fill = colour(ring, Some(label));
        let (left, text) = (x - 62.0, x - 42.0);
        println!(r#"<rect x="{left}" y="{y}" width="14" height="14" fill="{fill}"/>"#);
        let percent = share * 100.0;
        println!(
            r#"<text x="{text}" y="{}" font-size="15">{label} {percent:.0} %</text>"#,
            y + 12.5
        );
    }
}

/// Draws a range of positions as an arc around (`x`, 220).
fn arc(x: f64, radius: f64, width: f64, range: &Move<'_>, colour: &str) {
    let ((x1, y1), (x2, y2)) =
        (on_circle(x, radius, range.first), on_circle(x, radius, range.last));
    let large = u8::from(range.share() > 0.5);
    println!(
        r#"<path d="M{x1:.1} {y1:.1}A{radius} {radius} 0 {large} 1 {x2:.1} {y2:.1}" fill="none" stroke="{colour}" stroke-width="{width}"/>"#
    );
}

/// Returns where `position` lies on a circle around (`x`, 220), 0 at the top, clockwise.
fn on_circle(x: f64, radius: f64, position: u64) -> (f64, f64) {
    let angle = position as f64 / 2_f64.powi(64) * TAU;
    (x + radius * angle.sin(), 220.0 - radius * angle.cos())
}

fn colour(ring: &Ring, label: Option<&str>) -> &'static str {
    let index = ring.labels().position(|other| Some(other) == label);
    COLOURS[index.unwrap_or(0) % COLOURS.len()]
}
