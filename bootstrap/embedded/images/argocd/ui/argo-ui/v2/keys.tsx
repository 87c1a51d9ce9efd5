"use no memo";
/** Keys for lists. The pages register their actions while they are drawn, and nothing takes them back. */
import * as React from "react";

export enum Key {
  LEFT = "ArrowLeft",
  UP = "ArrowUp",
  RIGHT = "ArrowRight",
  DOWN = "ArrowDown",
  ENTER = "Enter",
  ESCAPE = "Escape",
  TAB = "Tab",
  SLASH = "/",
}

export enum NumKey {
  ZERO = "Digit0",
  ONE = "Digit1",
  TWO = "Digit2",
  THREE = "Digit3",
  FOUR = "Digit4",
  FIVE = "Digit5",
  SIX = "Digit6",
  SEVEN = "Digit7",
  EIGHT = "Digit8",
  NINE = "Digit9",
}

export enum NumPadKey {
  ZERO = "Numpad0",
  ONE = "Numpad1",
  TWO = "Numpad2",
  THREE = "Numpad3",
  FOUR = "Numpad4",
  FIVE = "Numpad5",
  SIX = "Numpad6",
  SEVEN = "Numpad7",
  EIGHT = "Numpad8",
  NINE = "Numpad9",
}

type AnyKey = Key | NumKey | NumPadKey;

/** The number on a key. */
export const NumKeyToNumber = (key: NumKey | NumPadKey): number => Number(key.slice(-1));

interface Keybinding {
  keys: AnyKey | AnyKey[];
  /** True where the key is used up by it. */
  action: (key: any) => boolean;
}

interface Keybindings {
  registerKeybinding: (binding: Keybinding) => void;
}

export const KeybindingContext = React.createContext<Keybindings>({ registerKeybinding: () => undefined });

const isTyping = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement &&
  (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) || target.isContentEditable);

/** Listens to keys for what is drawn inside it. */
export function KeybindingProvider({ children }: { children?: React.ReactNode }) {
  // One for each place in the code: drawn again, it takes the place of what it was before. The newest is asked first.
  const bindings = React.useRef(new Map<string, Keybinding>());
  React.useEffect(() => {
    const pressed = (event: KeyboardEvent): void => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
      if (isTyping(event.target) && event.key !== Key.ESCAPE) return;
      for (const { keys, action } of [...bindings.current.values()].reverse()) {
        const key = [keys].flat().find((one) => one === event.key || one === event.code);
        if (key !== undefined && action(key)) {
          event.preventDefault();
          return;
        }
      }
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);
  const [value] = React.useState<Keybindings>(() => ({
    registerKeybinding: (binding) => {
      const place = `${[binding.keys].flat().join()} ${binding.action}`;
      bindings.current.delete(place);
      bindings.current.set(place, binding);
    },
  }));
  return <KeybindingContext.Provider value={value}>{children}</KeybindingContext.Provider>;
}

/** A position in a list of so many: none (-1) at first, moved by a number that keeps it inside. */
export function useNav(count: number): [number, (by: number) => boolean, () => void] {
  const [position, setPosition] = React.useState(-1);
  const move = (by: number): boolean => {
    const next = position + by;
    if (next < 0 || next >= count) return false;
    setPosition(next);
    return true;
  };
  return [position, move, () => setPosition(-1)];
}
