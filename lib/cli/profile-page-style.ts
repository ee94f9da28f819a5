/** Style of the HTML report; colours follow the reader's scheme. */
export const pageStyle = `
:root {
  --paper: #ffffff; --card: #f5f6f8; --ink: #16191d; --soft: #5c6470; --line: #d9dde3; --bar: #2f6fb3; --bound: #b3261e;
  --warn: #8a4b00;
  --c0: #2f6fb3; --c1: #c7641c; --c2: #3c8d5a; --c3: #8456a8; --c4: #b03a5b; --c5: #7a6a2c; --c6: #23868f; --c7: #7d8590;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --card: #1d2126; --ink: #e7eaee; --soft: #9aa4b0; --line: #343b44; --bar: #6aa5e3;
    --bound: #ff8a80; --warn: #f0b35a;
    --c0: #6aa5e3; --c1: #e8935a; --c2: #6fc08d; --c3: #b48ed6; --c4: #e57d9a; --c5: #c6b26a; --c6: #5cc0c9; --c7: #9aa4b0;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 14px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
h2 { font-size: 1.05rem; margin: 2rem 0 .4rem; }
p { margin: .2rem 0 .6rem; }
.note, #facts, footer { color: var(--soft); }
footer { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: .6rem; }
.warning { color: var(--warn); font-weight: 600; }
#tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .6rem; margin-top: 1rem; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.tile b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); }
svg { display: block; width: 100%; height: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .bound { stroke: var(--bound); stroke-width: 2; }
svg .area { fill: var(--bar); fill-opacity: .35; stroke: var(--bar); stroke-width: 1.5; }
svg .empty { fill: var(--line); fill-opacity: .55; }
svg .zeros { fill: var(--bar); }
svg g.mark:hover rect { fill-opacity: .65; }
#legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin-top: .4rem; color: var(--soft); }
#legend i { display: inline-block; width: .75rem; height: .75rem; border-radius: .15rem; margin-right: .35rem;
  vertical-align: -.05rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
th button { all: unset; cursor: pointer; }
th button:focus-visible, input:focus-visible { outline: 2px solid var(--bar); outline-offset: 2px; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.name { overflow-wrap: anywhere; min-width: 9rem; }
td.bar { min-width: 4.5rem; }
td.bar div { height: .8rem; border-radius: .15rem; background: var(--bar); margin-top: .2rem; min-width: 1px; }
input { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: .4rem;
  padding: .35rem .6rem; width: 22rem; max-width: 100%; }
`;
