// The timelines of the last 30 s, drawn by uPlot.

import uPlot from "uplot";
import { type History, SPAN_S } from "./history";
import { rawValue } from "./instruments";
import type { Facts, Row } from "./protocol";

export interface Curve {
  label: string;
  colour: string;
  dash?: number[];
  value(history: History, row: Row): number | null;
}

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Spans of the timeline during which something was wrong. */
export function spans(history: History): { from: number; to: number; what: string }[] {
  const found: { from: number; to: number; what: string }[] = [];
  let swaps: number | null = null;
  for (const row of history.rows) {
    const number = (name: string) => history.columns.get(row, name) ?? 0;
    const time = history.time(row);
    const states: string[] = [];
    if (number("intervention")) states.push("person");
    if (number("kind") === 1) states.push("late");
    if (number("kind") === 2) states.push("blind");
    if (number("stuck") >= 2) states.push("stuck");
    if (swaps !== null && number("swaps") !== swaps) states.push("swap");
    swaps = number("swaps");
    for (const what of states) {
      const last = found.filter((each) => each.what === what).pop();
      if (last && time - last.to < 0.3) last.to = time;
      else found.push({ from: time, to: time, what });
    }
  }
  return found;
}

export class Chart {
  private readonly plot: uPlot;
  private cursorS: number | null = null;

  constructor(
    place: HTMLElement,
    private readonly curves: Curve[],
    range: [number | null, number | null],
    height: number,
    private readonly history: () => History | null,
    pick: (time: number) => void,
    axes = true,
  ) {
    const ink = () => colour("--muted");
    const line = () => colour("--line");
    this.plot = new uPlot(
      {
        width: Math.max(200, place.clientWidth),
        height,
        padding: [6, 8, 0, 0],
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, points: { show: false } },
        scales: {
          x: { time: false },
          y: { range: (_, low, high) => [range[0] ?? low ?? 0, range[1] ?? Math.max(high ?? 0, 1)] },
        },
        axes: [
          {
            show: axes,
            stroke: ink,
            grid: { stroke: line, width: 1 },
            ticks: { show: false },
            size: 24,
            values: (plot, splits) => splits.map((value) => `${Math.round(value - (plot.scales["x"]?.max ?? 0))} s`),
          },
          { show: axes, stroke: ink, grid: { stroke: line, width: 1 }, ticks: { show: false }, size: 38 },
        ],
        series: [
          {},
          ...curves.map((curve) => ({
            label: curve.label,
            stroke: () => colour(curve.colour),
            width: 1.5,
            dash: curve.dash ?? [],
            points: { show: false },
          })),
        ],
        hooks: {
          drawClear: [(plot) => this.drawSpans(plot)],
          draw: [(plot) => this.drawCursor(plot)],
        },
      },
      [[], ...curves.map(() => [])] as uPlot.AlignedData,
      place,
    );
    this.plot.over.addEventListener("click", (event) => pick(this.plot.posToVal(event.offsetX, "x")));
    new ResizeObserver(() => this.plot.setSize({ width: Math.max(200, place.clientWidth), height })).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.plot.redraw());
  }

  show(history: History, cursorS: number | null): void {
    this.cursorS = cursorS;
    const times = history.rows.map((row) => history.time(row));
    const values = this.curves.map((curve) => history.rows.map((row) => curve.value(history, row)));
    const newest = times[times.length - 1] ?? 0;
    this.plot.batch(() => {
      this.plot.setData([times, ...values] as uPlot.AlignedData, false);
      this.plot.setScale("x", { min: newest - SPAN_S, max: newest });
    });
  }

  private drawSpans(plot: uPlot): void {
    const history = this.history();
    if (!history) return;
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.globalAlpha = 0.28;
    for (const { from, to, what } of spans(history)) {
      const left = Math.max(bbox.left, plot.valToPos(from, "x", true));
      const right = plot.valToPos(to, "x", true);
      if (right < bbox.left) continue;
      ctx.fillStyle = colour(`--${what}`);
      ctx.fillRect(left, bbox.top, Math.max(2, right - left), bbox.height);
    }
    ctx.restore();
  }

  private drawCursor(plot: uPlot): void {
    if (this.cursorS === null) return;
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.fillStyle = colour("--ink");
    ctx.fillRect(Math.round(plot.valToPos(this.cursorS, "x", true)), bbox.top, 2, bbox.height);
    ctx.restore();
  }
}

const COLOURS: Record<string, string> = { steering: "--steering", throttle: "--throttle", brake: "--brake" };

export function controlCurves(axis: string): Curve[] {
  const name = COLOURS[axis] ?? "--other";
  return [
    { label: `${axis}, raw`, colour: name, dash: [2, 3], value: (history, row) => rawValue(history, row, axis) },
    { label: axis, colour: name, value: (history, row) => history.columns.get(row, `sent_${axis}`) },
  ];
}

export function latencyCurves(_facts: Facts): Curve[] {
  const stages: [string, string, string[]][] = [
    ["capture", "--capture", ["capture_s"]],
    ["+ preprocess", "--preprocess", ["capture_s", "preprocess_s"]],
    ["+ network", "--infer", ["capture_s", "preprocess_s", "infer_s"]],
    ["age of the picture", "--age", ["age_s"]],
  ];
  return stages.map(([label, name, parts]) => ({
    label,
    colour: name,
    value: (history, row) => {
      const values = parts.map((part) => history.columns.get(row, part));
      return values.includes(null) ? null : values.reduce<number>((sum, value) => sum + (value ?? 0), 0) * 1e3;
    },
  }));
}
