import { watch } from "node:fs";

const settleMs = 100;

/**
 * Calls `changed` after anything in the directory did, and has been quiet for a moment: a mounted ConfigMap is
 * replaced in several steps, the one that counts being the swap of its `..data` link. Throws the system's error if
 * the directory cannot be watched.
 */
export function watchConfig(directory: string, changed: () => void, failed: (error: Error) => void): void {
  let timer: NodeJS.Timeout | undefined;
  const watcher = watch(directory, { persistent: false }, () => {
    clearTimeout(timer);
    timer = setTimeout(changed, settleMs);
  });
  watcher.on("error", failed);
}
