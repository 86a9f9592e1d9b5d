//! A scenario as a picture (SVG): for each figure the ratio of every pair as a dot on a logarithmic
//! axis, the median as a bar, and the region we aim at.

use std::fmt::Write;

use crate::figures::{Aim, Outcome};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 330.0;
const RIGHT: f64 = 110.0;
const TOP: f64 = 58.0;
const ROW: f64 = 26.0;
const BOTTOM: f64 = 44.0;

/// Ticks are drawn at these, times every power of ten.
const TICKS: [f64; 3] = [1.0, 2.0, 5.0];

pub(crate) fn svg(title: &str, peers: (&str, &str), outcomes: &[Outcome]) -> String {
    let axis = Axis::over(outcomes);
    let bottom = TOP + ROW * outcomes.len() as f64;
    let height = bottom + BOTTOM;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"24\" font-size=\"16\" font-weight=\"bold\">{}</text>\n\
         <text x=\"16\" y=\"43\" fill=\"#666666\">{} ÷ {}: a dot for each pair, a bar for their \
         median; green is where it should be</text>\n",
        escaped(title),
        escaped(peers.0),
        escaped(peers.1),
    );
    for tick in axis.ticks() {
        let x = axis.x(tick);
        let stroke = if tick == 1.0 { "#666666" } else { "#dddddd" };
        line(&mut out, (x, TOP - 4.0), (x, bottom), stroke, 1.0);
        text(&mut out, (x, bottom + 18.0), "middle", &format!("{tick}×"));
    }
    for (row, outcome) in outcomes.iter().enumerate() {
        figure(&mut out, &axis, TOP + ROW * (row as f64 + 0.5), outcome);
    }
    out.push_str("</svg>\n");
    out
}

fn figure(out: &mut String, axis: &Axis, y: f64, outcome: &Outcome) {
    if let Some(aim) = outcome.figure.aim {
        let (from, to) = match aim {
            Aim::AtLeast(bound) => (axis.x(bound), WIDTH - RIGHT),
            Aim::AtMost(bound) => (LEFT, axis.x(bound)),
        };
        let (width, top, height) = (to - from, y - ROW * 0.4, ROW * 0.8);
        let _ = writeln!(
            out,
            "<rect x=\"{from:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             fill=\"#d6f0d8\"/>"
        );
    }
    text(out, (LEFT - 12.0, y + 4.0), "end", outcome.figure.name);
    let colour = match outcome.is_met() {
        Some(true) => "#1a7f37",
        Some(false) => "#c0392b",
        None => "#34608c",
    };
    for ratio in &outcome.judged {
        let x = axis.x(*ratio);
        let _ = writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\" opacity=\"0.5\"/>"
        );
    }
    if let Some(ratio) = outcome.judged() {
        let x = axis.x(ratio);
        line(out, (x, y - 9.0), (x, y + 9.0), colour, 3.0);
    }
    text(out, (WIDTH - RIGHT + 8.0, y + 4.0), "start", &outcome.judged_text());
}

/// A logarithmic axis.
struct Axis {
    least: f64,
    most: f64,
}

impl Axis {
    /// Wide enough for every ratio, every aim, and equality.
    fn over(outcomes: &[Outcome]) -> Self {
        let bounds = outcomes.iter().filter_map(|it| it.figure.aim).map(Aim::bound);
        let ratios = outcomes.iter().flat_map(|it| it.judged.iter().copied());
        let (mut least, mut most) = (0.5_f64, 2.0_f64);
        for value in ratios.chain(bounds).filter(|it| *it > 0.0) {
            (least, most) = (least.min(value), most.max(value));
        }
        Axis { least: least / 1.3, most: most * 1.3 }
    }

    fn x(&self, ratio: f64) -> f64 {
        let part = (ratio.max(self.least) / self.least).ln() / (self.most / self.least).ln();
        LEFT + part * (WIDTH - LEFT - RIGHT)
    }

    /// As many as there is room for.
    fn ticks(&self) -> Vec<f64> {
        let decades = (self.most / self.least).log10();
        let of_decade = if decades > 2.5 { &TICKS[..1] } else { &TICKS[..] };
        let mut ticks = Vec::new();
        for exponent in -6..=6 {
            for tick in of_decade {
                // Written and read, so that it looks as it should: 0.05, not 0.05000000000000001.
                let tick = format!("{tick}e{exponent}").parse().unwrap_or(f64::NAN);
                if (self.least..=self.most).contains(&tick) {
                    ticks.push(tick);
                }
            }
        }
        ticks
    }
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), stroke: &str, width: f64) {
    let _ = writeln!(
        out,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{stroke}\" \
         stroke-width=\"{width}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(out: &mut String, at: (f64, f64), anchor: &str, content: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
        at.0,
        at.1,
        escaped(content)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
