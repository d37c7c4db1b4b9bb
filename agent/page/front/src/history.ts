// The last 30 s: every tick's numbers, and the pictures that were shown.

import { Columns, type Facts, type Picture, type PictureKind, type Row } from "./protocol";

export const SPAN_S = 30;

export class History {
  readonly columns: Columns;
  rows: Row[] = [];
  /** Held back while paused, so that what is looked at stays. */
  private later: Row[] = [];
  private readonly pictures = new Map<PictureKind, Picture[]>();
  frozen = false;

  constructor(facts: Facts) {
    this.columns = new Columns(facts);
  }

  /** Add rows; those that are known already, as after the connection was lost, are left out. */
  add(rows: Row[]): void {
    if (this.frozen) {
      this.later.push(...rows);
      if (this.later.length > 20_000) this.later.splice(0, 10_000);
      return;
    }
    let last = this.newest ? this.stamp(this.newest) : -1;
    for (const row of rows) {
      if (this.stamp(row) <= last) continue;
      this.rows.push(row);
      last = this.stamp(row);
    }
    const newest = this.time(this.rows[this.rows.length - 1]);
    let old = 0;
    while (old < this.rows.length && this.time(this.rows[old]) < newest - SPAN_S) old += 1;
    if (old) this.rows.splice(0, old);
    const oldest = this.rows[0] ? this.stamp(this.rows[0]) : 0;
    for (const kept of this.pictures.values()) {
      while (kept.length > 1 && (kept[1]?.stamp ?? 0) <= oldest) kept.shift();
    }
  }

  addPicture(picture: Picture): void {
    if (picture.kind === "occlusion") return; // it is asked for again
    if (this.frozen && (picture.kind === "game" || picture.kind === "input")) return;
    const kept = this.pictures.get(picture.kind) ?? [];
    kept.push(picture);
    this.pictures.set(picture.kind, kept);
  }

  thaw(): void {
    this.frozen = false;
    this.add(this.later);
    this.later = [];
  }

  /** The picture that was newest at a tick; the newest of all without one. */
  picture(kind: PictureKind, stamp?: number): Picture | undefined {
    const kept = this.pictures.get(kind) ?? [];
    if (stamp === undefined) return kept[kept.length - 1];
    let found: Picture | undefined;
    for (const each of kept) if (each.stamp <= stamp) found = each;
    return found;
  }

  /** The place of a tick in the rows, or the last one before it. */
  place(stamp: number): number {
    let found = 0;
    this.rows.forEach((row, place) => {
      if (this.stamp(row) <= stamp) found = place;
    });
    return found;
  }

  stamp(row: Row): number {
    return this.columns.get(row, "index") ?? 0;
  }

  time(row: Row | undefined): number {
    return (row && this.columns.get(row, "started_s")) ?? 0;
  }

  get newest(): Row | undefined {
    return this.rows[this.rows.length - 1];
  }
}
