/** A live view of the camera, where the browser lets a page have one. */

import { byId } from "./words.js";

const PROBLEMS = {
  NotAllowedError: "The browser does not let this page use the camera; allow it in the browser's settings.",
  NotFoundError: "There is no camera.",
  NotReadableError: "The camera is in use by another program.",
};
const JPEG_QUALITY = 0.92;

/** Offers the camera; `take` is called with an array of one file for each picture taken. */
export function offerCamera(take) {
  const [dialog, video, shoot] = [byId("camera"), byId("viewfinder"), byId("shoot")];
  // Only where the page came over HTTPS or from this machine.
  byId("open-camera").hidden = !navigator.mediaDevices?.getUserMedia;
  byId("open-camera").addEventListener("click", () => open(dialog, video));
  byId("close-camera").addEventListener("click", () => dialog.close());
  video.addEventListener("playing", () => {
    shoot.disabled = false;
  });
  dialog.addEventListener("close", () => stop(video, shoot));
  shoot.addEventListener("click", async () => {
    const file = await photograph(video);
    dialog.close();
    take([file]);
  });
}

async function open(dialog, video) {
  byId("camera-problem").textContent = "";
  dialog.showModal();
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    video.srcObject = stream;
    // Closed while the browser was still asking.
    if (!dialog.open) stop(video, byId("shoot"));
  } catch (error) {
    byId("camera-problem").textContent = PROBLEMS[error.name] ?? `The camera does not work: ${error.message}`;
  }
}

function stop(video, shoot) {
  shoot.disabled = true;
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
}

async function photograph(video) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", JPEG_QUALITY));
  return new File([blob], "Photograph", { type: "image/jpeg" });
}
