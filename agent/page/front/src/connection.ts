// The WebSocket: opened again whenever it is lost, at most every two seconds.

import { type Message, type Picture, readPicture } from "./protocol";

export interface Listener {
  opened(): void;
  closed(): void;
  message(message: Message): void;
  picture(picture: Picture): void;
}

const SILENCE_MS = 10_000;

export class Connection {
  private socket: WebSocket | null = null;
  private heardMs = 0;
  private wait: number | undefined;

  constructor(private readonly listener: Listener) {
    this.open();
    // A laptop that slept has a connection that is dead and does not know it.
    document.addEventListener("visibilitychange", () => this.check());
    window.addEventListener("online", () => this.check());
    setInterval(() => this.check(), 2000);
  }

  send(message: unknown): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  private check(): void {
    const state = this.socket?.readyState;
    const silentMs = performance.now() - this.heardMs;
    if (state === WebSocket.CLOSED || state === WebSocket.CLOSING) this.open();
    else if (silentMs > 2 * SILENCE_MS) this.drop();
    // A drive that stands still sends nothing; the answer to a question tells it from a lost one.
    else if (silentMs > SILENCE_MS) this.send({ ask: "alive" });
  }

  /** Give up a connection that says nothing: its own end would be told only after the other side's answer. */
  private drop(): void {
    const socket = this.socket;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    this.listener.closed();
    this.open();
  }

  private open(): void {
    if (this.wait !== undefined) return;
    const address = new URL("live", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.search = "";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.heardMs = performance.now();
    socket.onopen = () => this.listener.opened();
    socket.onmessage = (event: MessageEvent<string | ArrayBuffer>) => {
      this.heardMs = performance.now();
      if (typeof event.data === "string") this.listener.message(JSON.parse(event.data) as Message);
      else {
        const picture = readPicture(event.data);
        if (picture) this.listener.picture(picture);
      }
    };
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.listener.closed();
      this.wait = window.setTimeout(() => {
        this.wait = undefined;
        this.open();
      }, 2000);
    };
  }
}
