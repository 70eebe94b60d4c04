// The recording, played by the browser's own controls, and in step with the conversation.

import { callPath } from "./api.js";
import { el } from "./dom.js";

export class Player {
  /**
   * @param {import("./api.js").Call} call
   * @param {(seconds: number | null) => void} at told what is heard, in seconds since the call's start
   */
  constructor(call, at) {
    const tell = () => at(this.element.paused && this.element.currentTime === 0 ? null : this.element.currentTime);
    this.element = el("audio", { controls: true, preload: "metadata", "aria-label": "Recording of the call", src: `/api/v1${callPath(call.conversation_id)}/audio`,
      ontimeupdate: tell, onseeked: tell, onended: () => at(null) });
  }

  /** Plays from a place. @param {number} seconds since the call's start */
  seek(seconds) {
    this.element.currentTime = seconds;
    // A browser may want the reader's own click on the player first.
    this.element.play().catch(() => {});
  }
}
