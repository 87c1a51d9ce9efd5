"use no memo";
import classNames from "classnames";
import * as React from "react";
import { createPortal } from "react-dom";

export interface AutocompleteApi {
  refresh(): any;
}

export interface AutocompleteOption {
  value: string;
  label?: string;
}

type InputProps = React.InputHTMLAttributes<HTMLInputElement> &
  React.RefAttributes<any> &
  Record<string, any>;

export interface AutocompleteProps {
  items: (AutocompleteOption | string)[];
  value?: string;
  inputProps?: InputProps;
  wrapperProps?: React.HTMLProps<HTMLDivElement>;
  renderInput?: (props: any) => React.ReactNode;
  renderItem?: (item: any) => React.ReactNode;
  onChange?: (event: React.ChangeEvent<HTMLInputElement>, value: string) => void;
  onSelect?: (value: string, item: any) => void;
  autoCompleteRef?: (api: AutocompleteApi) => any;
  filterSuggestions?: boolean;
  qeid?: string;
}

interface Item {
  value: string;
  label: string;
}

interface Place {
  top: number;
  left: number;
  width: number;
}

const itemOf = (item: AutocompleteOption | string): Item =>
  typeof item === "string"
    ? { value: item, label: item }
    : { value: item.value, label: item.label ?? item.value };

/** Below the input, or above it where there is no room below. */
function placeOf(input: Element, menu: Element | null): Place {
  const { bottom, top, left, width } = input.getBoundingClientRect();
  const height = menu?.getBoundingClientRect().height ?? 0;
  const above = bottom + height > window.innerHeight && top > height;
  return { top: above ? top - height : bottom, left, width };
}

/** An input with suggestions. The first one that fits is chosen by Enter. */
export function Autocomplete(props: AutocompleteProps) {
  const { inputProps = {}, wrapperProps = {}, value = "", filterSuggestions, renderItem, onSelect } = props;
  const wrapper = React.useRef<HTMLDivElement>(null);
  const menu = React.useRef<HTMLDivElement>(null);
  const [opened, setOpened] = React.useState(false);
  const [selected, setSelected] = React.useState(0);
  const [place, setPlace] = React.useState<Place | null>(null);
  const text = String(value ?? "");
  const items = (props.items ?? [])
    .map(itemOf)
    .filter(({ label }) => !filterSuggestions || label.toLowerCase().includes(text.toLowerCase()));
  const refresh = React.useCallback(() => {
    const input = wrapper.current?.querySelector("input");
    if (input) setPlace(placeOf(input, menu.current));
  }, []);

  React.useLayoutEffect(() => {
    if (!opened) return undefined;
    refresh();
    const moved = (event: Event): void => {
      if (event.target !== menu.current) refresh();
    };
    document.addEventListener("scroll", moved, true);
    window.addEventListener("resize", refresh);
    return () => {
      document.removeEventListener("scroll", moved, true);
      window.removeEventListener("resize", refresh);
    };
  }, [opened, items.length, refresh]);
  const { autoCompleteRef } = props;
  React.useEffect(() => {
    autoCompleteRef?.({ refresh });
  });

  const choose = (item: Item): void => {
    setOpened(false);
    onSelect?.(item.value, item);
  };
  const onKeyDown = (event: React.KeyboardEvent<HTMLInputElement>): void => {
    inputProps.onKeyDown?.(event);
    if (event.defaultPrevented) return;
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0 && items.length > 0) {
      event.preventDefault();
      if (opened) setSelected((now) => (now + step + items.length) % items.length);
      else setOpened(true);
    } else if (event.key === "Escape") {
      setOpened(false);
    } else if (event.key === "Enter" && opened) {
      const item = items[selected];
      if (item) {
        event.preventDefault();
        choose(item);
      }
    }
  };
  const handed: InputProps = {
    ...inputProps,
    value: text,
    autoComplete: "off",
    role: "combobox",
    "aria-expanded": opened,
    "aria-autocomplete": "list",
    onChange: (event: React.ChangeEvent<HTMLInputElement>) => {
      setOpened(true);
      setSelected(0);
      props.onChange?.(event, event.target.value);
    },
    onFocus: (event: React.FocusEvent<HTMLInputElement>) => {
      setOpened(true);
      inputProps.onFocus?.(event);
    },
    onBlur: (event: React.FocusEvent<HTMLInputElement>) => {
      setOpened(false);
      inputProps.onBlur?.(event);
    },
    onClick: (event: React.MouseEvent<HTMLInputElement>) => {
      setOpened(true);
      inputProps.onClick?.(event);
    },
    onKeyDown,
  };
  return (
    <div {...(wrapperProps as any)} ref={wrapper} className={classNames("select", wrapperProps.className)}>
      {props.renderInput ? props.renderInput(handed) : <input {...handed} qe-id={props.qeid} />}
      {opened &&
        items.length > 0 &&
        createPortal(
          <div ref={menu} role="listbox" className="autocomplete__menu" style={{ ...place }}>
            {items.map((item, index) => (
              <div
                key={`${item.value} ${index}`}
                role="option"
                aria-selected={index === selected}
                tabIndex={-1}
                className={classNames("select__option", { selected: index === selected })}
                onMouseEnter={() => setSelected(index)}
                // Before the input loses the focus, and with it the menu.
                onMouseDown={(event) => {
                  event.preventDefault();
                  choose(item);
                }}
              >
                {renderItem?.(item) ?? item.label}
              </div>
            ))}
          </div>,
          document.querySelector('[class^="theme-"]') ?? document.body,
        )}
    </div>
  );
}
