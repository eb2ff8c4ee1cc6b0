// Files of a folder, chosen or dropped, each with its path inside.

/** All entries of a directory: a reader gives at most a hundred at a time. */
async function entries(directory) {
  const reader = directory.createReader();
  const all = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return all;
    all.push(...some);
  }
}

async function walk(entry) {
  if (entry.isDirectory) return (await Promise.all((await entries(entry)).map(walk))).flat();
  const file = await new Promise((done, failed) => entry.file(done, failed));
  return [{ file, path: entry.fullPath.replace(/^\//, "") }];
}

/** What was dropped; folders with all that is in them. */
export async function droppedFiles({ items, files }) {
  const all = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean); // before anything waits: they are gone then
  const plain = chosenFiles(files);
  return all.length ? (await Promise.all(all.map(walk))).flat() : plain;
}

export const chosenFiles = (files) => [...files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
