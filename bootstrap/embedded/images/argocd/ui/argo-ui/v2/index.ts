export { ago } from "./ago";
export { ActionButton, Autocomplete, Checkbox, Tooltip } from "./components";
export {
  Key,
  KeybindingContext,
  KeybindingProvider,
  NumKey,
  NumKeyToNumber,
  NumPadKey,
  useNav,
} from "./keys";
export { useData } from "./use-data";
