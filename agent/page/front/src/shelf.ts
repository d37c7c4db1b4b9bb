// Recordings and trainings at rest.

import { ask, tell } from "./ask";
import { EpisodeView } from "./episode";
import { type Run, showRuns } from "./runs";

export interface Entry {
  key: string;
  deleted: boolean;
  problem?: string;
  rows?: number;
  seconds?: number;
  game?: string;
  driver?: string;
  track?: string;
  by_hand?: number;
  steering?: number[];
  bad?: [number, number][];
  rate_hz?: number;
}

interface Shelf {
  folder: string;
  episodes: Entry[];
  runs: Run[];
  opinion: boolean;
}

function say(text: string): void {
  const place = document.getElementById("said");
  if (place) place.textContent = text;
}

function line(text: string): HTMLElement {
  const found = document.createElement("span");
  found.className = "small";
  found.textContent = text;
  return found;
}

/** The distribution of the steering, left to right. */
function histogram(counts: number[]): SVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${counts.length} 10`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const total = counts.reduce((sum, count) => sum + count, 0) || 1;
  const middle = counts[(counts.length - 1) / 2] ?? 0;
  svg.setAttribute("aria-label", `steering: ${Math.round((100 * middle) / total)} % straight on`);
  const most = Math.max(...counts, 1);
  counts.forEach((count, place) => {
    const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    const height = 10 * Math.sqrt(count / most);
    bar.setAttribute("x", `${place + 0.1}`);
    bar.setAttribute("width", "0.8");
    bar.setAttribute("y", `${10 - height}`);
    bar.setAttribute("height", `${height}`);
    svg.append(bar);
  });
  return svg;
}

class App {
  private view = new EpisodeView(say, () => void this.load());
  private current = "";

  async load(): Promise<void> {
    try {
      const shelf = await ask<Shelf>("shelf");
      const folder = document.getElementById("folder");
      if (folder) folder.textContent = shelf.folder;
      this.showEpisodes(shelf);
      await showRuns(shelf.runs, say);
      // A training that has just begun has written nothing yet.
      if (!shelf.runs.length && !shelf.episodes.length) setTimeout(() => void this.load(), 5000);
    } catch (problem) {
      say(`${(problem as Error).message}`);
    }
  }

  private showEpisodes(shelf: Shelf): void {
    const section = document.getElementById("episodes");
    const list = section?.querySelector("ul");
    if (!section || !list) return;
    section.hidden = !shelf.episodes.length && shelf.runs.length > 0;
    list.replaceChildren(...shelf.episodes.map((entry) => this.card(entry, shelf.opinion)));
    if (!shelf.episodes.length) list.append(line("nothing in this folder yet"));
  }

  private card(entry: Entry, opinion: boolean): HTMLElement {
    const item = document.createElement("li");
    const button = document.createElement("button");
    button.dataset["key"] = entry.key;
    button.classList.toggle("deleted", entry.deleted);
    const name = document.createElement("strong");
    name.textContent = entry.key.split("/").pop() ?? entry.key;
    if (entry.problem !== undefined || !entry.rows) {
      button.append(name, line(entry.problem ?? "empty"));
    } else {
      const picture = document.createElement("img");
      picture.loading = "lazy";
      picture.alt = "";
      picture.src = `picture?${new URLSearchParams({ episode: entry.key, row: `${entry.rows >> 1}`, width: "240" })}`;
      const bad = (entry.bad ?? []).reduce((sum, [first, last]) => sum + last - first + 1, 0);
      const hand = entry.by_hand ? `, ${(100 * entry.by_hand).toFixed(0)} % by a person` : "";
      button.append(
        picture,
        name,
        line(`${(entry.seconds ?? 0).toFixed(0)} s, ${entry.rows} rows at ${entry.rate_hz} Hz`),
        line(`${entry.game} ${entry.track ?? ""}, ${entry.driver}${hand}`),
        histogram(entry.steering ?? []),
      );
      if (bad) button.append(line(`${bad} rows marked as bad`));
    }
    if (entry.deleted) button.append(line("deleted: press to bring it back"));
    if (entry.key === this.current) button.setAttribute("aria-current", "true");
    button.onclick = () => void this.open(entry, opinion);
    item.append(button);
    return item;
  }

  private async open(entry: Entry, opinion: boolean): Promise<void> {
    try {
      if (entry.deleted) {
        await tell("restore", { episode: entry.key });
        say(`${entry.key} is back`);
        await this.load();
      } else if (entry.rows) {
        this.current = entry.key;
        for (const other of document.querySelectorAll(".cards button")) {
          other.toggleAttribute("aria-current", (other as HTMLElement).dataset["key"] === entry.key);
        }
        await this.view.open(entry, opinion);
      }
    } catch (problem) {
      say((problem as Error).message);
    }
  }
}

void new App().load();
