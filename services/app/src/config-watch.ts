import { watch } from "node:fs";

const settleMs = 100;

/**
 * Calls `changed` when something in the directory has changed and it has then been quiet for a moment. A mounted
 * ConfigMap is replaced in several steps, of which the swap of its `..data` link is the one that counts. Throws the
 * system's error if the directory cannot be watched.
 */
export function watchConfig(directory: string, changed: () => void, failed: (error: Error) => void): void {
  let timer: NodeJS.Timeout | undefined;
  const watcher = watch(directory, { persistent: false }, () => {
    clearTimeout(timer);
    timer = setTimeout(changed, settleMs);
  });
  watcher.on("error", failed);
}
