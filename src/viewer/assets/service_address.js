// The service's address, as the browser sees it, and as ElevenLabs could reach it.

import { BASE } from "./route.js";

/** The service's address, as the browser sees it. */
export const SERVICE = location.origin + BASE.replace(/\/$/, "");

/** True if the browser uses an address that ElevenLabs cannot reach: of this machine, of a private network, or without HTTPS. */
export const IS_LOCAL = location.protocol !== "https:"
  || /^(localhost|.*\.local|.*\.internal|127\.|\[::1\]|\[f[cd]|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.|169\.254\.)/.test(location.hostname);

/** An address that ElevenLabs can reach, or a placeholder for it. */
export const PUBLIC_SERVICE = IS_LOCAL ? "https://YOUR-PUBLIC-ADDRESS" : SERVICE;
