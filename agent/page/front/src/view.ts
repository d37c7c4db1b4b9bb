// A picture on a canvas, always the newest of those that were asked for.

import type { Picture } from "./protocol";

export class View {
  private shown: Picture | undefined;
  private wanted: Picture | undefined;
  private busy = false;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly describe: (picture: Picture) => string,
  ) {}

  show(picture: Picture | undefined): void {
    this.wanted = picture;
    if (!this.busy) void this.draw();
  }

  /** Show nothing: what was shown no longer holds. */
  clear(): void {
    this.wanted = this.shown = undefined;
    this.canvas.getContext("2d")?.clearRect(0, 0, this.canvas.width, this.canvas.height);
    delete this.canvas.dataset["stamp"];
  }

  private async draw(): Promise<void> {
    this.busy = true;
    while (this.wanted && this.wanted !== this.shown) {
      const picture = this.wanted;
      try {
        const bitmap = await createImageBitmap(picture.blob);
        if (!this.wanted) break; // cleared meanwhile
        if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
          this.canvas.width = bitmap.width;
          this.canvas.height = bitmap.height;
        }
        this.canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
        bitmap.close();
        this.canvas.dataset["stamp"] = `${picture.stamp}`;
        this.canvas.setAttribute("aria-label", this.describe(picture));
      } catch {
        // A damaged picture: the next one comes soon.
      }
      this.shown = picture;
    }
    this.busy = false;
  }
}
