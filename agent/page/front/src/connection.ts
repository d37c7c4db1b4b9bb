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
    if (state === WebSocket.CLOSED || state === WebSocket.CLOSING) this.open();
    else if (state === WebSocket.OPEN && performance.now() - this.heardMs > SILENCE_MS) {
      // A drive that stands still sends nothing; the answer to a question tells it from a lost one.
      this.send({ ask: "alive" });
      if (performance.now() - this.heardMs > 2 * SILENCE_MS) this.socket?.close();
    }
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
