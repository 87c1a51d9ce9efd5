/** A release as a process of its own, to be killed: bundled by the test that starts it, with the clone's directory as its argument. */
import { parseRegistry } from "../../lib/images/build.ts";
import { release } from "../src/release/release.ts";

const [, , root = ""] = process.argv;
const registry = parseRegistry("http://127.0.0.1:9");
await release({ root, remote: "origin", branch: "main", push: true, service: "cart", registry });
