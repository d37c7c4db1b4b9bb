// Steering wheel, pedals and console.

import { type Facts, type Row, STUCK } from "./protocol";
import type { History } from "./history";

const SVG = "http://www.w3.org/2000/svg";
const FULL_LOCK_DEGREES = 135;

function shape(name: string, attributes: Record<string, string>, parent: Element): SVGElement {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

function makeWheel(parent: Element, kind: string): SVGElement {
  const group = shape("g", { class: `wheel ${kind}` }, parent);
  shape("circle", { cx: "0", cy: "0", r: "44" }, group);
  shape("path", { d: "M-44 0H44M0 0V44" }, group);
  shape("path", { d: "M0 -50V-38", class: "mark" }, group);
  return group;
}

/** The wheel and a bar for each pedal: what was sent filled, the raw prediction as an outline or a line. */
export class Instruments {
  private readonly raw: SVGElement;
  private readonly sent: SVGElement;
  private readonly bars: { name: string; fill: SVGElement; mark: SVGElement }[] = [];

  constructor(private readonly figure: Element, facts: Facts) {
    figure.replaceChildren();
    const pedals = facts.axes.filter((name) => name !== "steering");
    const width = 120 + pedals.length * 40;
    const svg = shape("svg", { viewBox: `-60 -60 ${width} 132`, "aria-hidden": "true" }, figure);
    this.raw = makeWheel(svg, "raw");
    this.sent = makeWheel(svg, "sent");
    pedals.forEach((name, place) => {
      const group = shape("g", { transform: `translate(${72 + place * 40} -50)`, class: `pedal ${name}` }, svg);
      shape("rect", { width: "22", height: "100", class: "track" }, group);
      const fill = shape("rect", { width: "22", height: "0", y: "100", class: "fill" }, group);
      const mark = shape("path", { d: "M-4 0H26", class: "mark" }, group);
      shape("text", { x: "11", y: "116", "text-anchor": "middle" }, group).textContent = name;
      this.bars.push({ name, fill, mark });
    });
    shape("text", { x: "0", y: "66", "text-anchor": "middle" }, svg).textContent = "steering";
  }

  show(history: History, row: Row): void {
    const number = (name: string) => history.columns.get(row, name);
    const steering = number("sent_steering") ?? 0;
    const raw = rawValue(history, row, "steering");
    this.sent.setAttribute("transform", `rotate(${steering * FULL_LOCK_DEGREES})`);
    this.raw.setAttribute("transform", `rotate(${(raw ?? steering) * FULL_LOCK_DEGREES})`);
    this.raw.setAttribute("visibility", raw === null ? "hidden" : "visible");
    for (const { name, fill, mark } of this.bars) {
      const sent = Math.max(0, Math.min(1, number(`sent_${name}`) ?? 0));
      fill.setAttribute("height", `${sent * 100}`);
      fill.setAttribute("y", `${100 - sent * 100}`);
      const value = rawValue(history, row, name);
      mark.setAttribute("visibility", value === null ? "hidden" : "visible");
      mark.setAttribute("transform", `translate(0 ${100 - 100 * Math.max(0, Math.min(1, value ?? 0))})`);
    }
    this.figure.classList.toggle("person", number("intervention") === 1);
  }
}

/** The raw prediction for an axis; a pedal of a network with one signed output is half of that. */
export function rawValue(history: History, row: Row, axis: string): number | null {
  const value = history.columns.get(row, `raw_${axis}`);
  if (value !== null || (axis !== "throttle" && axis !== "brake")) return value;
  const pedal = history.columns.get(row, "raw_pedal");
  return pedal === null ? null : axis === "throttle" ? Math.max(0, pedal) : Math.max(0, -pedal);
}

const two = (value: number | null) => (value === null ? "–" : value.toFixed(2));
const milliseconds = (value: number | null) => (value === null ? "–" : `${(value * 1e3).toFixed(1)} ms`);

export interface Line {
  name: string;
  value: string;
}

/** The lines of the console for a tick. */
export function consoleLines(facts: Facts, history: History, row: Row): Line[] {
  const number = (name: string) => history.columns.get(row, name);
  const [fps, pps] = rates(history, row);
  const lines: Line[] = [
    { name: "FPS", value: fps.toFixed(1) },
    { name: "PPS", value: `${pps.toFixed(1)} of ${facts.rate_hz.toFixed(1)}` },
  ];
  for (const axis of facts.axes) {
    lines.push({ name: axis, value: `${two(rawValue(history, row, axis))} (${two(number(`sent_${axis}`))})` });
  }
  lines.push({ name: "age of the picture", value: milliseconds(number("age_s")) });
  lines.push({ name: "missed deadlines", value: `${number("missed") ?? 0} of ${number("deadlines") ?? 0}` });
  const stuck = STUCK[number("stuck") ?? 0];
  if (stuck) lines.push({ name: "stuck", value: stuck === "free" ? "no" : stuck });
  if (number("progress") !== null) {
    lines.push({ name: "progress", value: `${((number("progress") ?? 0) * 100).toFixed(0)} %` });
    lines.push({ name: "return", value: (number("episode_return") ?? 0).toFixed(1) });
  }
  if (number("speed") !== null) lines.push({ name: "speed", value: (number("speed") ?? 0).toFixed(1) });
  lines.push({ name: "tick", value: `${number("index") ?? 0}` });
  return lines;
}

/** Frames delivered and predictions sent a second, over the second before a tick. */
export function rates(history: History, row: Row): [number, number] {
  const end = history.place(history.stamp(row));
  const until = history.time(row);
  let first = end;
  while (first > 0 && until - history.time(history.rows[first - 1]) <= 1) first -= 1;
  const start = history.rows[first];
  const elapsed = until - history.time(start);
  if (!start || elapsed <= 0) return [0, 0];
  let frames = 0;
  let before: number | null = null;
  let predictions = 0;
  for (let place = first; place <= end; place += 1) {
    const each = history.rows[place];
    if (!each) continue;
    const frame = history.columns.get(each, "frame_index");
    if (frame !== null && before !== null && frame > before) frames += frame - before;
    if (frame !== null) before = frame;
    if (place > first && history.columns.get(each, "kind") === 0) predictions += 1;
  }
  return [frames / elapsed, predictions / elapsed];
}
