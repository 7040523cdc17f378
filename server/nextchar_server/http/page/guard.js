/**
 * Loads the page again if one of its files could not be had, such as while the server restarts.
 *
 * A script of its own, and no module: a module that lacks one of its imports doesn't run at all.
 */
const PAUSE = 2000; // milliseconds

let isWaiting = false;

function loadAgain(event) {
  if (isWaiting || !["SCRIPT", "LINK"].includes(event.target.tagName)) return;
  isWaiting = true;
  setTimeout(() => location.reload(), PAUSE);
}

addEventListener("error", loadAgain, true); // an error of loading doesn't bubble
