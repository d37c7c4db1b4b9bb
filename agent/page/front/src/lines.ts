// A plot of lines that are there already.

import uPlot from "uplot";

export interface Line {
  label: string;
  colour: string;
  dash?: number[];
  values: (number | null)[];
}

export interface Lines {
  plot: uPlot;
  setCursor(x: number): void;
}

const ink = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function drawLines(
  place: HTMLElement,
  title: string,
  x: number[],
  lines: Line[],
  range: [number, number] | null,
  spans: () => readonly (readonly [number, number])[],
  pick: (place: number) => void,
): Lines {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  figure.append(caption);
  place.append(figure);
  let cursor: number | null = null;
  const plot = new uPlot(
    {
      width: Math.max(200, figure.clientWidth),
      height: 130,
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { show: false } },
      scales: { x: { time: false }, ...(range ? { y: { range } } : {}) },
      axes: [
        { stroke: () => ink("--muted"), grid: { stroke: () => ink("--line"), width: 1 }, size: 24 },
        { stroke: () => ink("--muted"), grid: { stroke: () => ink("--line"), width: 1 }, size: 48 },
      ],
      series: [
        {},
        ...lines.map((line) => ({
          label: line.label,
          stroke: () => (line.colour.startsWith("--") ? ink(line.colour) : line.colour),
          width: 1.5,
          dash: line.dash ?? [],
          points: { show: line.values.length < 3 },
          spanGaps: true,
        })),
      ],
      hooks: {
        drawClear: [
          (drawn) => {
            const { ctx, bbox } = drawn;
            ctx.save();
            ctx.globalAlpha = 0.25;
            ctx.fillStyle = ink("--blind");
            for (const [first, last] of spans()) {
              const left = drawn.valToPos(x[first] ?? 0, "x", true);
              ctx.fillRect(left, bbox.top, Math.max(2, drawn.valToPos(x[last] ?? 0, "x", true) - left), bbox.height);
            }
            ctx.restore();
          },
        ],
        draw: [
          (drawn) => {
            if (cursor === null) return;
            drawn.ctx.fillStyle = ink("--ink");
            drawn.ctx.fillRect(Math.round(drawn.valToPos(cursor, "x", true)), drawn.bbox.top, 2, drawn.bbox.height);
          },
        ],
      },
    },
    [x, ...lines.map((line) => line.values)] as uPlot.AlignedData,
    figure,
  );
  plot.over.addEventListener("click", (event) => pick(plot.posToIdx(event.offsetX)));
  new ResizeObserver(() => plot.setSize({ width: Math.max(200, figure.clientWidth), height: 130 })).observe(figure);
  return {
    plot,
    setCursor(at: number) {
      cursor = at;
      plot.redraw(false);
    },
  };
}
