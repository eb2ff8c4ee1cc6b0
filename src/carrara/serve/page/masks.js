// A mask is a list of strokes in the coordinates of its picture, so that undo is exact and zoom changes nothing.

/** Draws strokes on a canvas of ``scale`` points a pixel, in ``colour`` where something new is made. */
export function paint(context, strokes, { scale = 1, colour = "#fff" } = {}) {
  context.lineCap = "round";
  context.lineJoin = "round";
  for (const stroke of strokes) {
    context.globalCompositeOperation = stroke.kind === "erase" ? "destination-out" : stroke.kind === "invert" ? "source-out" : "source-over";
    context.fillStyle = context.strokeStyle = colour;
    if (stroke.kind === "invert") {
      context.fillRect(0, 0, context.canvas.width, context.canvas.height);
      continue;
    }
    context.lineWidth = stroke.size * scale;
    context.beginPath();
    const [[x, y], ...others] = stroke.points;
    context.moveTo(x * scale, y * scale);
    if (!others.length) context.lineTo(x * scale + 0.001, y * scale);
    for (const [u, v] of others) context.lineTo(u * scale, v * scale);
    context.stroke();
  }
  context.globalCompositeOperation = "source-over";
}

/** The mask as a file: white where something new is made, black elsewhere, without greys. */
export function maskBlob({ width, height }, strokes) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  paint(context, strokes);
  const image = context.getImageData(0, 0, width, height);
  for (let k = 0; k < image.data.length; k += 4) {
    const white = image.data[k + 3] > 127 ? 255 : 0;
    image.data.set([white, white, white, 255], k);
  }
  context.putImageData(image, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
