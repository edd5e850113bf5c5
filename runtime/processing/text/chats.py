"""A tokenizer's way from chats to tokens, with the arguments of transformers' `apply_chat_template`."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError

if TYPE_CHECKING:
    from ..chat.templates import ChatTemplates


class Chats:
    """What a tokenizer adds for chats; `special_tokens` are shown to templates."""

    special_tokens: dict[str, str]
    _folder: Path | None = None

    @cached_property
    def chat_templates(self) -> "ChatTemplates":
        """The templates that turn a chat into a text; none for a tokenizer that is in no folder."""
        from ..chat.templates import ChatTemplates

        return ChatTemplates() if self._folder is None else ChatTemplates.from_folder(self._folder)

    @property
    def chat_template(self) -> str | dict[str, str] | None:
        """The template, several by their names, or None; may be set."""
        sources = dict(self.chat_templates.sources)
        return sources["default"] if list(sources) == ["default"] else sources or None

    @chat_template.setter
    def chat_template(self, source: str | Mapping[str, str] | None) -> None:
        from ..chat.templates import ChatTemplates

        named = {"default": source} if isinstance(source, str) else dict(source or {})
        self.__dict__["chat_templates"] = ChatTemplates(named)

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        tools: Sequence[Any] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        chat_template: str | None = None,
        add_generation_prompt: bool = False,
        continue_final_message: bool | str = False,
        tokenize: bool = True,
        padding: bool | str = False,
        truncation: bool = False,
        max_length: int | None = None,
        return_tensors: str | None = None,
        return_dict: bool = True,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        **variables: Any,
    ) -> Any:
        """Return a chat, or each of several, as the text that the model reads or as its tokens.

        Parameters
        ----------
        conversation
            Messages with `role` and `content`, or a list of such chats.
        tokenize, return_dict
            Without `tokenize` a text; without `return_dict` the ids alone: lists, or an array with return_tensors="np".
        padding, truncation, max_length, return_tensors, tokenizer_kwargs
            As when the tokenizer is called.
        tools, documents, chat_template, add_generation_prompt, continue_final_message, variables
            As `ChatTemplates.render` describes them.

        Raises
        ------
        UsageError, IntegrityError
            The template rejects the chat, or an argument cannot be right.

        """
        from ..chat.templates import is_chat

        single = is_chat(conversation)
        if not single and not (conversation and all(map(is_chat, conversation))):
            raise UsageError("a chat is a list of messages with 'role' and 'content', or a list of such lists")
        texts = [
            self.chat_templates.render(
                chat,
                tools=tools,
                documents=documents,
                chat_template=chat_template,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=continue_final_message,
                special_tokens=self.special_tokens,
                variables=variables,
            )
            for chat in ([conversation] if single else conversation)
        ]
        if not tokenize:
            return texts[0] if single else texts
        encode: Any = self  # a tokenizer is called with texts
        options = {"padding": padding, "truncation": truncation, "max_length": max_length, **(tokenizer_kwargs or {})}
        if not return_dict and return_tensors is None and not padding:
            rows = [encode(text, **options, add_special_tokens=False)["input_ids"][0].tolist() for text in texts]
            return rows[0] if single else rows
        encoded = encode(texts, **options, add_special_tokens=False, return_tensors=return_tensors)
        return encoded if return_dict else encoded["input_ids"]
