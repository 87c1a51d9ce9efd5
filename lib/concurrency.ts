/** Work that goes on side by side. */
import { availableParallelism } from "node:os";

/** Runs a task for each item, as many at a time as there are processors; results keep the items' order. */
export async function concurrently<T, R>(items: T[], task: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array(items.length);
  let next = 0;
  const work = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++)
      results[index] = await task(items[index] as T);
  };
  await Promise.all(Array.from({ length: Math.min(items.length, availableParallelism() + 1) }, work));
  return results;
}
