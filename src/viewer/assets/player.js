// The recording, with the browser's own controls, synchronized with the conversation.

import { callPath } from "./api.js";
import { el } from "./dom.js";

export class Player {
  /**
   * @param {import("./api.js").Call} call
   * @param {(seconds: number | null) => void} at called with the playback position, in seconds since the call's start
   */
  constructor(call, at) {
    const tell = () => at(this.element.paused && this.element.currentTime === 0 ? null : this.element.currentTime);
    this.element = el("audio", { controls: true, preload: "metadata", "aria-label": "Recording of the call", src: `/api/v1${callPath(call.conversation_id)}/audio`,
      ontimeupdate: tell, onseeked: tell, onended: () => at(null) });
  }

  /** Plays from a position. @param {number} seconds since the call's start */
  seek(seconds) {
    this.element.currentTime = seconds;
    // Browsers may require a click on the player first.
    this.element.play().catch(() => {});
  }
}
