/** What tests keep of one run for the next: nothing of what they look at, and the schemas, which take seconds to make. */
import { Cache } from "../render/cache.ts";
import { cacheDirectory } from "../repository.ts";

const ofCheckout = new Cache(cacheDirectory);

/** A cache of a test's own, with the checkout's schemas: those of another version or other code have another key. */
export class TestCache extends Cache {
  override get<T>(entry: string, key: string): T | undefined {
    return entry === "schemas" ? ofCheckout.get<T>(entry, key) : super.get<T>(entry, key);
  }

  override set(entry: string, key: string, value: unknown): void {
    if (entry === "schemas") ofCheckout.set(entry, key, value);
    else super.set(entry, key, value);
  }
}
