// The recording, played by the browser's own controls, and in step with the conversation.

import { callPath } from "./api.js";
import { el } from "./dom.js";

export class Player {
  /**
   * @param {import("./api.js").Call} call
   * @param {(instant: number | null) => void} at told what is heard, in milliseconds since 1970
   */
  constructor(call, at) {
    this.start = Date.parse(call.call_start_time);
    const tell = () => at(this.element.paused && this.element.currentTime === 0 ? null : this.start + this.element.currentTime * 1000);
    this.element = el("audio", { controls: true, preload: "metadata", "aria-label": "Recording of the call", src: `/api/v1${callPath(call.conversation_id)}/audio`,
      ontimeupdate: tell, onseeked: tell, onended: () => at(null) });
  }

  /** Plays from an instant. @param {string} instant */
  seek(instant) {
    this.element.currentTime = Math.max(0, (Date.parse(instant) - this.start) / 1000);
    // A browser may want the reader's own click on the player first.
    this.element.play().catch(() => {});
  }
}
