"""The style sheet of the report: light, one column on narrow screens, no scripts."""

CSS = """
:root {
  --ink: #1c2430; --soft: #5b6675; --line: #dfe4ea; --paper: #fff; --tint: #f5f7fa;
  --blue: #0072b2;
}
* { box-sizing: border-box; }
body {
  margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper);
}
main { max-width: 1080px; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 {
  font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-bottom: .25rem;
  border-bottom: 1px solid var(--line);
}
h3 { font-size: 1rem; margin: 1.2rem 0 .5rem; }
p { margin: .4rem 0; max-width: 48rem; }
.soft, .caption, figcaption { color: var(--soft); }
.numbers {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem;
  margin: 1.2rem 0; padding: 0; list-style: none;
}
.numbers li {
  background: var(--tint); border: 1px solid var(--line); border-radius: 8px;
  padding: .6rem .8rem; font-size: .85rem; color: var(--soft);
}
.numbers b {
  display: block; font-size: 1.5rem; line-height: 1.25; color: var(--ink);
  font-variant-numeric: tabular-nums;
}
.scroll { overflow-x: auto; margin: .3rem 0 1rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
.caption { font-size: .85rem; margin: .8rem 0 .2rem; }
th, td {
  padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap;
}
th:first-child {
  text-align: left; font-weight: 500; position: sticky; left: 0; background: var(--paper);
}
thead th { font-weight: 600; }
tbody tr:hover td, tbody tr:hover th { background: var(--tint); }
.pair {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
  gap: 1rem 2rem; align-items: start;
}
.pair > * { min-width: 0; }
.chart { width: 100%; max-width: 640px; height: auto; display: block; }
.gallery {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr));
  gap: 1rem .8rem;
}
.card {
  margin: 0; display: flex; flex-wrap: wrap; gap: .25rem; align-content: flex-start;
  font-size: .78rem; line-height: 1.35;
}
.view {
  position: relative; order: -1; flex: 0 0 100%; background: #000; border-radius: 6px;
  overflow: hidden;
}
.view > img, .view > svg { display: block; width: 100%; height: auto; }
.view > svg, .view > .heat { position: absolute; inset: 0; height: 100%; }
.heat { opacity: 0; background: rgb(0 0 0 / 55%); transition: opacity .12s; }
.chip {
  font: inherit; padding: 0 .45rem; border: 1px solid var(--line); border-radius: 9px;
  background: var(--tint); color: var(--ink); cursor: pointer;
}
.chip:hover, .chip:focus { border-color: var(--blue); outline: none; color: var(--blue); }
.chip:hover ~ .view svg, .chip:focus ~ .view svg { opacity: 0; }
figcaption { flex: 0 0 100%; overflow-wrap: anywhere; }
line { stroke-width: 2.2; stroke-linecap: round; }
line.gt { stroke: #fff; stroke-width: 1.6; stroke-dasharray: 3 3; }
circle.gt { fill: none; stroke: #fff; }
line.left { stroke: #56b4e9; } circle.left { fill: #56b4e9; }
line.right { stroke: #ff7f27; } circle.right { fill: #ff7f27; }
line.centre { stroke: #2fd6a5; } circle.centre { fill: #2fd6a5; }
.key::before {
  content: ""; display: inline-block; width: 1.4em; border-top: 3px solid currentColor;
  vertical-align: middle; margin-right: .35em;
}
.key { margin-right: 1.1em; white-space: nowrap; }
.key.left { color: #2f8fc7; }
.key.right { color: #d55e00; }
.key.centre { color: #009e73; }
.key.gt::before { border-top-style: dashed; color: #888; }
pre {
  background: var(--tint); border: 1px solid var(--line); border-radius: 6px;
  padding: .7rem .9rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem;
}
dl {
  display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .9rem;
  margin: .5rem 0;
}
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 480px) {
  .gallery { grid-template-columns: repeat(2, 1fr); }
  h1 { font-size: 1.4rem; }
  th, td { padding: .3rem .4rem; }
}
@media print { .chip { display: none; } }
"""
