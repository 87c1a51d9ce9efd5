/** Checks regular expressions for Go, Envoy and Prometheus. */
import { RE2JS } from "re2js";

/** Says what is wrong with a regular expression in RE2, which has no look-around and no back-references. */
export function regexFlaw(text: string): string | undefined {
  try {
    RE2JS.compile(text);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
