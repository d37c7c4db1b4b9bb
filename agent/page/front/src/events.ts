// What happened, as a list; new lines are read out by a screen reader.

import type { History } from "./history";
import { type Note, type Row, STUCK } from "./protocol";

const MOST = 60;

export class Events {
  private person = false;
  private stuck = 0;
  private watched = -1;
  private missed: number | null = null;

  constructor(private readonly list: HTMLElement) {}

  /** Another drive begins, whose ticks count from 1 again. */
  begin(): void {
    this.watched = -1;
    this.missed = null;
  }

  note(note: Note): void {
    const text = describe(note);
    if (text) this.add(text, note.kind === "sight" ? String(note["now"]) : note.kind);
  }

  watch(history: History, rows: Row[]): void {
    for (const row of rows) {
      if (history.stamp(row) <= this.watched) continue; // sent again, after the connection was lost
      this.watched = history.stamp(row);
      const number = (name: string) => history.columns.get(row, name) ?? 0;
      const person = number("intervention") === 1;
      if (person !== this.person) this.add(person ? "a person has the wheel" : "the network has the wheel", "person");
      this.person = person;
      const stuck = number("stuck");
      if (stuck !== this.stuck && (stuck >= 2 || this.stuck >= 2)) {
        this.add(stuck >= 2 ? `stuck: ${STUCK[stuck]}` : "free again", "stuck");
      }
      this.stuck = stuck;
      if (this.missed !== null && number("missed") > this.missed) this.add("a deadline was missed", "missed");
      this.missed = number("missed");
    }
  }

  add(text: string, kind: string): void {
    const first = this.list.firstElementChild;
    if (first instanceof HTMLElement && first.dataset["text"] === text) {
      const times = Number(first.dataset["times"] ?? 1) + 1;
      first.dataset["times"] = `${times}`;
      first.lastChild!.textContent = ` ${text} (${times} times)`;
      return;
    }
    const line = document.createElement("li");
    line.dataset["kind"] = kind;
    line.dataset["text"] = text;
    const time = document.createElement("time");
    time.textContent = new Date().toLocaleTimeString();
    line.append(time, ` ${text}`);
    this.list.prepend(line);
    while (this.list.children.length > MOST) this.list.lastElementChild?.remove();
  }
}

function describe(note: Note): string {
  switch (note.kind) {
    case "begin":
      return note["seed"] === null ? "a drive begins" : `a lap begins on track ${note["seed"]}`;
    case "finish":
      return `the lap has ended: ${note["ticks"]} ticks, ${note["missed"]} of ${note["deadlines"]} deadlines missed`;
    case "end":
      return "the drive has ended";
    case "weights":
      return `other weights drive now${note["name"] ? `: ${note["name"]}` : ""}`;
    case "sight":
      if (note["now"] === "blind") return `blind: ${note["reason"]}`;
      return note["now"] === "late" ? "late: a decision came too late and was not sent" : "it sees again";
    default:
      return typeof note["text"] === "string" ? note["text"] : "";
  }
}
