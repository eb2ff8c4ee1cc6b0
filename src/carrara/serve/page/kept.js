// Files that were given to the page: the browser keeps them over a reload, and the last ones only.
const MOST = 16;
const seen = new Map(); // by the address where the page shows a file: the policy lets nobody fetch that

/** The file that is shown at an address. */
export const fileAt = (src) => seen.get(src);

function show(file) {
  const src = URL.createObjectURL(file);
  seen.set(src, file);
  return src;
}

const asked = (request) =>
  new Promise((resolve, reject) => Object.assign(request, { onsuccess: () => resolve(request.result), onerror: () => reject(request.error) }));

async function store(mode) {
  const opening = indexedDB.open("carrara.studio", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("files", { autoIncrement: true });
  return (await asked(opening)).transaction("files", mode).objectStore("files");
}

/** Where a file can be seen from, and under which key it is kept; none where the browser keeps nothing. */
export async function keepFile(file) {
  const src = show(file);
  try {
    const files = await store("readwrite");
    const key = await asked(files.add(file));
    await asked(files.delete(IDBKeyRange.upperBound(key - MOST)));
    return { src, key };
  } catch {
    return { src };
  }
}

/** The same picture after a reload; null if it is gone. */
async function revived(source) {
  if (!source.src?.startsWith("blob:")) return source;
  try {
    const file = source.key && (await asked((await store("readonly")).get(source.key)));
    return file ? { ...source, src: show(file) } : null;
  } catch {
    return null;
  }
}

/** All that a page had of files before a reload. */
export async function restored({ sources, befores }) {
  const again = await Promise.all(sources.map(revived));
  const beside = await Promise.all(Object.entries(befores).map(async ([job, before]) => [job, await revived(before)]));
  return { sources: again.filter(Boolean), befores: Object.fromEntries(beside.filter(([, before]) => before)) };
}
