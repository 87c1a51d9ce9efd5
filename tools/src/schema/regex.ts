/** Regular expressions as Go, Envoy and Prometheus read them. */
import { RE2JS } from "re2js";

/** What is wrong with a regular expression of RE2, which knows no look-around and no back-references. */
export function regexFlaw(text: string): string | undefined {
  try {
    RE2JS.compile(text);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
