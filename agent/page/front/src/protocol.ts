// What the server sends, see agent/page/records.py and agent/page/viewers.py.

export interface Facts {
  title: string;
  game: string;
  model: string;
  engine: string;
  rate_hz: number;
  outputs: string[];
  axes: string[];
  columns: string[];
  observation_shape: [number, number, number];
  folder: string;
  keep: string;
  made_s: number;
}

export type Row = (number | null)[];

export interface Note {
  kind: string;
  [detail: string]: unknown;
}

export type Message =
  | { type: "hello"; facts: Facts; page: number; insight?: boolean }
  | { type: "ticks"; rows: Row[] }
  | { type: "notes"; newest: number; notes: Note[] }
  | { type: "layers"; names: string[]; outputs: string[]; weights: string }
  | { type: "insight"; problem: string }
  | Occlusion
  | { type: "alive" }
  | { type: "kept"; text: string; failed: boolean };

/** How the map that was asked for is coming on, why there is none, or what it is of. */
export interface Occlusion {
  type: "occlusion";
  problem?: string;
  done?: number;
  of?: number;
  at?: number;
  output?: string;
  largest?: number;
  weights?: string;
}

export type PictureKind = "game" | "input" | "evidence" | "maps" | "occlusion";
const KINDS: Record<number, PictureKind> = { 1: "game", 2: "input", 3: "evidence", 4: "maps", 5: "occlusion" };

export const TICK_KINDS = ["driven", "late", "blind"];
export const STUCK = ["", "free", "recovering", "given up"];

export interface Picture {
  kind: PictureKind;
  stamp: number;
  blob: Blob;
}

/** Take a binary message apart: a byte for the kind, three unused, the tick as a float64, then a JPEG. */
export function readPicture(data: ArrayBuffer): Picture | null {
  const view = new DataView(data);
  const kind = KINDS[view.getUint8(0)];
  if (!kind) return null;
  return { kind, stamp: view.getFloat64(4, true), blob: new Blob([data.slice(12)], { type: "image/jpeg" }) };
}

/** Numbers of a row by the name of their column. */
export class Columns {
  private readonly places = new Map<string, number>();

  constructor(facts: Facts) {
    facts.columns.forEach((name, place) => this.places.set(name, place));
  }

  get(row: Row, name: string): number | null {
    const place = this.places.get(name);
    return place === undefined ? null : (row[place] ?? null);
  }
}
