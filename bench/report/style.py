"""The report's looks; colours that stay apart for every kind of colour vision, and stand out in both themes."""

from markupsafe import Markup

STYLE = Markup("""
:root {
  --page: #fff; --raised: #f6f7f9; --text: #1b1f27; --soft: #565e6b; --line: #dfe3e8; --edge: #9aa2ae;
  --warn: #fff7e6; --warn-edge: #b97800; --accent: #012b88; --slower: #a8321c; --shade: #9aa2ae;
  --c0: #012b88; --c1: #027d90; --c2: #9a6a00; --c3: #b13552; --c4: #6c55bf; --c5: #5e2300;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #15181d; --raised: #1d2127; --text: #e7eaef; --soft: #a5adba; --line: #31373f; --edge: #727b88;
    --warn: #2a2415; --warn-edge: #d9a43a; --accent: #6cbcff; --slower: #ff9b80; --shade: #727b88;
    --c0: #31a9fe; --c1: #3ce0eb; --c2: #ded851; --c3: #ee929b; --c4: #9a78b6; --c5: #d0671a;
  }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 2.5rem clamp(1rem, 3vw, 2.5rem) 3rem; max-width: 82rem;
  background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
h1 { margin: 0; font-size: clamp(1.5rem, 4vw, 2.1rem); line-height: 1.2; }
h2 { margin: 0 0 .6rem; font-size: 1.2rem; line-height: 1.3; }
h3 { margin: 0 0 .4rem; font-size: 1rem; }
p { margin: 0 0 .5rem; }
main > *, footer > section { margin: 0 0 2.75rem; }
header { margin-bottom: 2rem; }
.kind { margin: 0 0 .25rem; color: var(--soft); font-size: .85rem; letter-spacing: .06em; }
.about { color: var(--soft); }
header .about { display: flex; flex-wrap: wrap; gap: .15rem 1.25rem; margin: .5rem 0 0; padding: 0; list-style: none; }
.lead { font-size: 1.1rem; }
.how, .note { max-width: 46rem; color: var(--soft); font-size: .9rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: 1rem; }
.pairs { grid-template-columns: repeat(auto-fit, minmax(min(100%, 25rem), 1fr)); }
.panels.pairs { grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); }
.card { padding: .9rem 1.1rem .6rem; background: var(--raised); border-radius: .5rem; }
.card p { font-size: .93rem; }
.card .note { font-size: .85rem; }
.ratio { color: var(--accent); }
.slower { color: var(--slower); }
.quartiles { color: var(--soft); font-size: .92em; white-space: nowrap; }
.notice {
  padding: .9rem 1.1rem; background: var(--warn); border-left: 4px solid var(--warn-edge); border-radius: .25rem;
}
.notice h2 { font-size: 1.05rem; }
.notice ul { margin: 0; padding-left: 1.1rem; }
.notice li { margin: 0 0 .3rem; }
.reason { color: var(--soft); }
.facts {
  display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 9.5rem), 1fr)); gap: .7rem 1.5rem; margin: 0;
}
.facts .broad { grid-column: span 2; }
.facts .wide { grid-column: 1 / -1; }
.facts dt { color: var(--soft); font-size: .82rem; }
.facts dd { margin: 0; }
footer .facts .wide { display: grid; grid-template-columns: 7rem 1fr; gap: 1rem; }
footer .facts .wide dt { padding-top: .15rem; }
pre {
  margin: 0 0 1rem; padding: .7rem 1rem; background: var(--raised); border-radius: .4rem; font-size: .88rem;
  white-space: pre-wrap; overflow-wrap: anywhere;
}
pre span { display: inline-block; max-width: 100%; }
footer { margin-top: 3.5rem; padding-top: 2rem; border-top: 1px solid var(--line); }
footer > p { color: var(--soft); font-size: .9rem; }
table { border-collapse: collapse; font-size: .86rem; }
.scroll {
  overflow-x: auto; background:
    linear-gradient(to right, var(--page) 1.2rem, transparent) left / 2.5rem 100% no-repeat local,
    linear-gradient(to left, var(--page) 1.2rem, transparent) right / 2.5rem 100% no-repeat local,
    linear-gradient(to right, var(--shade), transparent) left / 1rem 100% no-repeat scroll,
    linear-gradient(to left, var(--shade), transparent) right / 1rem 100% no-repeat scroll;
}
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.tall { max-height: 60rem; overflow-y: auto; border-bottom: 1px solid var(--line); }
.tables { display: flex; flex-wrap: wrap; align-items: start; gap: 2rem 4rem; }
.data { margin: 0; min-width: 0; max-width: 100%; }
.data.wide { flex: 1 0 100%; }
.data.narrow figcaption { contain: inline-size; min-width: 16rem; }
.data figcaption { margin: 0 0 .4rem; color: var(--soft); font-size: .9rem; }
.figures { width: 100%; }
.figures.narrow { width: auto; }
.figures th, .figures td { padding: .3rem .45rem; text-align: right; white-space: nowrap; }
.figures.narrow th + *, .figures.narrow td + td { padding-left: 1.75rem; }
.figures thead th { border-bottom: 1px solid var(--edge); color: var(--soft); font-weight: 500; }
.figures thead th { vertical-align: bottom; max-width: 13rem; white-space: normal; overflow-wrap: break-word; }
.figures tbody tr + tr + tr > * { border-top: 1px solid var(--line); }
.figures th:first-child {
  position: sticky; left: 0; z-index: 1; max-width: 15rem; padding-left: 0;
  background: var(--page); text-align: left; font-weight: 400;
  overflow: hidden; text-overflow: ellipsis;
}
.figures th.own:first-child { font-weight: 600; }
.figures .case th:first-child {
  position: static; padding-top: 1rem; max-width: none; background: none; font-weight: 600;
}
.figures .case th > span { position: sticky; left: 0; }
.figures td.text { min-width: 6rem; text-align: left; white-space: normal; }
.figures th.text { text-align: left; }
.figures .case .about { margin-left: .5rem; font-weight: 400; }
.figures .failed { color: var(--soft); text-align: left; white-space: normal; }
.tall thead th { position: sticky; top: 0; z-index: 2; background: var(--page); box-shadow: 0 1px var(--edge); }
.tall thead th:first-child { z-index: 3; }
.panels {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 1.5rem 1.75rem;
}
.panels > section { min-width: 0; }
.panels > section > .panels { display: block; }
.panel { margin: 0; max-width: 44rem; container-type: inline-size; }
.panel figcaption { margin-bottom: .25rem; font-weight: 600; font-size: .95rem; }
.panel svg { display: block; width: 100%; height: auto; font-size: 11px; }
@container (min-width: 27rem) { .panel svg { font-size: 10px; } }
@container (min-width: 32rem) { .panel svg { font-size: 9px; } }
@container (min-width: 38rem) { .panel svg { font-size: 8px; } }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .25rem 0 1rem; padding: 0; list-style: none; }
.legend li { display: flex; align-items: center; gap: .45rem; font-size: .9rem; }
.sample { flex: none; width: 26px; height: 14px; }
svg text {
  fill: var(--soft); font-size: 1em; font-variant-numeric: tabular-nums;
  paint-order: stroke; stroke: var(--page); stroke-width: 3px; stroke-linejoin: round;
}
svg .name { font-size: 1.09em; fill: var(--text); }
svg .name.own { font-weight: 600; }
svg .heading { font-size: 1.09em; font-weight: 600; fill: var(--text); }
svg .figure { fill: var(--text); }
svg path { fill: none; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); }
.c3 { color: var(--c3); } .c4 { color: var(--c4); } .c5 { color: var(--c5); }
svg .grid { stroke: var(--line); }
svg .stroke { stroke: var(--edge); }
svg .guide { stroke: var(--text); stroke-width: 1.25; stroke-dasharray: 4 3; }
svg .dots { stroke: currentColor; stroke-width: 4; stroke-linecap: round; }
svg .dots.few { stroke-width: 7; }
svg .band { fill: var(--raised); }
svg .box { fill: none; stroke: var(--text); stroke-width: 1; }
svg .whisker { stroke: var(--text); stroke-width: 1; }
svg .median { stroke: var(--text); stroke-width: 2; }
svg .bar { fill: currentColor; opacity: .85; }
svg .baseline .bar { opacity: .5; }
svg .span { fill: currentColor; opacity: .3; }
svg .series { stroke: currentColor; stroke-width: 1.75; stroke-linejoin: round; }
svg .series.baseline { stroke-dasharray: 5 3; }
svg .ground { stroke: var(--line); stroke-width: 1.5; }
svg .mark { fill: currentColor; stroke: currentColor; stroke-width: 1.5; }
svg .mark.baseline { fill: var(--page); }
svg g > .whisker { stroke: currentColor; }
@media (max-width: 40rem) {
  .figures th:first-child { max-width: 9.5rem; }
  .figures.narrow th + *, .figures.narrow td + td { padding-left: .6rem; }
}
@media print {
  @page { size: A4 landscape; margin: 12mm; }
  body { padding: 0; max-width: none; font-size: 10pt; }
  .scroll, .tall { max-height: none; overflow: visible; border: 0; }
  .figures { font-size: 6.6pt; }
  .figures th, .figures td { padding: .15rem .25rem; }
  .figures th:first-child, .tall thead th { position: static; }
  .panels, .panels.pairs { grid-template-columns: repeat(3, 1fr); }
  .panel, .card, .notice, tr, .facts > div { break-inside: avoid; }
  h2, figcaption, .how, .legend { break-after: avoid; }
  .card, .notice, pre { border: 1px solid var(--line); }
}
""")
