// The map of what matters in one picture, computed when it is asked for.

import type { Occlusion, Picture } from "./protocol";
import { View } from "./view";

/** What the panel needs of the page. */
export interface Asker {
  /** The tick that is looked at; null while live. */
  at(): number | null;
  send(message: unknown): void;
}

export class OcclusionPanel {
  private readonly canvas = document.getElementById("occlusion") as HTMLCanvasElement;
  private readonly button = document.getElementById("occlude") as HTMLButtonElement;
  private readonly progress = document.getElementById("occlusion-progress") as HTMLProgressElement;
  private readonly output = document.getElementById("occluded") as HTMLSelectElement;
  private readonly said = document.getElementById("occlusion-said") as HTMLElement;
  private readonly view: View;
  private runs = false;
  private label = "";

  constructor(private readonly asker: Asker) {
    this.view = new View(this.canvas, () => this.label);
    this.button.onclick = () => this.press();
  }

  /** The page was paused or went on, or another drive began. */
  update(): void {
    this.button.disabled = !this.runs && this.asker.at() === null;
    this.button.textContent = this.runs ? "Stop" : "Compute for this picture";
    this.progress.hidden = !this.runs;
  }

  hear(message: Occlusion): void {
    const { problem, done = 0, of = 1, at, output, largest = 0, weights } = message;
    if (problem !== undefined) {
      this.runs = false;
      this.said.textContent = problem;
    } else if (at !== undefined) {
      this.runs = false;
      this.label = `What matters to ${output} in tick ${at}: bright where covering a part changes it most`;
      this.said.textContent = `tick ${at}, ${output} of ${weights}: covering the brightest part changes it by ${largest.toFixed(3)}`;
    } else {
      if (!this.runs) this.said.textContent = "computing …";
      this.runs = true;
      this.progress.max = of;
      this.progress.value = done;
    }
    this.update();
  }

  show(picture: Picture): void {
    this.canvas.hidden = false;
    this.view.show(picture);
  }

  /** The connection is gone, and with it what was being computed. */
  stop(): void {
    if (!this.runs) return;
    this.runs = false;
    this.said.textContent = "stopped: the connection is lost";
    this.update();
  }

  private press(): void {
    const at = this.asker.at();
    if (this.runs) this.asker.send({ occlude: false });
    else if (at !== null) this.asker.send({ occlude: at, output: this.output.value });
  }
}
